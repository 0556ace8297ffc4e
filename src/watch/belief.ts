import type { Diagnosis, DiagnosisCode } from '../model/diagnosis.ts'

/** What a survey does not find: a secondary, by its nodeid, or the primary, by the diagnosis that says how. */
type Absence = number | DiagnosisCode

/** An absence that surveys have shown, and that is not believed yet. */
interface Doubt {
  readonly of: Absence
  /** So many surveys in a row, an interval apart, have shown it, */
  readonly surveys: number
  /** the last of them at this moment. */
  readonly at: number
}

/** What is believed of one group. Times are `performance.now()`, milliseconds. */
export interface Belief {
  readonly group: number
  /** The diagnosis that is believed; null: none yet, the first one waits for confirmation. */
  readonly diagnosis: Diagnosis | null
  /** Absences that are believed. */
  readonly absences: readonly Absence[]
  /** Absences that are not believed yet, each by itself. */
  readonly doubts: readonly Doubt[]
  /** Tries in a row that did not come to their end. */
  readonly failures: number
  /** Before this moment the group is left alone: it was changed a short while ago, or could not be. */
  readonly restUntil: number
  readonly restingFor: 'cooldown' | 'failure'
  /** When the row of tries that fail began; null: the last one did not. */
  readonly failingSince: number | null
}

/**
 * Absence proves little: these are believed after `confirm` surveys that agree. What was seen is believed at once; but that
 * a primary takes no writes, which is so in the pause of every switchover.
 */
const OF_ABSENCE: ReadonlySet<DiagnosisCode> = new Set([
  'primary-down',
  'primary-unknown',
  'primary-alive-elsewhere',
  'primary-in-recovery',
  'read-only',
])

function absencesIn({ code, secondaries }: Diagnosis): Absence[] {
  const down = secondaries.filter(({ state }) => state === 'down').map(({ nodeid }) => nodeid)
  return [...(OF_ABSENCE.has(code) ? [code] : []), ...down]
}

const isOfPrimary = (of: Absence) => typeof of !== 'number'

/** By what it is counted: whether a primary that does not answer is down, the witnesses may see now so, now so. */
const countedAs = (of: Absence): Absence => (of === 'primary-unknown' ? 'primary-down' : of)

/** What it takes to believe in an absence. */
export interface Confirmation {
  /** So many surveys in a row have to agree, */
  readonly surveys: number
  /** each so many milliseconds after the one before: a storm of surveys within a moment proves no more than one. */
  readonly apartMs: number
}

/** The beliefs after one more survey, at `now`. Pure. Groups that are gone are forgotten. */
export function believe(
  before: readonly Belief[],
  diagnoses: readonly Diagnosis[],
  confirm: Confirmation,
  now: number,
): Belief[] {
  return diagnoses.map((diagnosis) => {
    const known = before.find((belief) => belief.group === diagnosis.group) ?? unknown(diagnosis.group)
    return { ...known, ...weigh(known, diagnosis, confirm, now) }
  })
}

function unknown(group: number): Belief {
  const rest = { failures: 0, restUntil: 0, restingFor: 'cooldown', failingSince: null } as const
  return { group, diagnosis: null, absences: [], doubts: [], ...rest }
}

function weigh(
  known: Belief,
  diagnosis: Diagnosis,
  { surveys, apartMs }: Confirmation,
  now: number,
): Pick<Belief, 'diagnosis' | 'absences' | 'doubts'> {
  const shown = (of: Absence): Doubt => {
    const before = known.doubts.find((doubt) => doubt.of === countedAs(of))
    if (before && now - before.at < apartMs) return before
    return { of: countedAs(of), surveys: (before?.surveys ?? 0) + 1, at: now }
  }
  const all = absencesIn(diagnosis)
  const doubts = all
    .filter((of) => !known.absences.includes(of))
    .map(shown)
    .filter((doubt) => doubt.surveys < surveys)
  const isDoubted = (of: Absence) => doubts.some((doubt) => doubt.of === countedAs(of))
  // One that is shown by another name now is still believed by its own.
  const kept = known.absences.filter((of) => all.some((each) => countedAs(each) === countedAs(of)))
  const absences = [...new Set([...kept, ...all.filter((of) => !isDoubted(of))])]
  return {
    diagnosis: isInDoubt(diagnosis, all, isDoubted, known) ? known.diagnosis : diagnosis,
    absences,
    doubts,
  }
}

/** Whether what was believed before is to stand. */
function isInDoubt(
  { code }: Diagnosis,
  all: readonly Absence[],
  isDoubted: (of: Absence) => boolean,
  known: Belief,
): boolean {
  if (code !== 'secondary-down') return all.some((of) => isOfPrimary(of) && isDoubted(of))
  // The primary answers: what was believed of its absence is over.
  const wasAbsent = known.diagnosis !== null && OF_ABSENCE.has(known.diagnosis.code)
  return !wasAbsent && all.length > 0 && all.every(isDoubted)
}

/** Whether another survey is wanted soon, to confirm or to clear up what one showed. */
export function isUnsettled(beliefs: readonly Belief[]): boolean {
  return beliefs.some((belief) => belief.doubts.length > 0)
}

const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000

/** After a change of these groups that came to its end. */
export function afterSuccess(
  beliefs: readonly Belief[],
  changed: readonly number[],
  tried: readonly number[],
  restUntil: number,
): Belief[] {
  return beliefs.map((belief) => {
    if (!tried.includes(belief.group)) return belief
    const rest = changed.includes(belief.group) ? ({ restUntil, restingFor: 'cooldown' } as const) : {}
    return { ...belief, failures: 0, failingSince: null, ...rest }
  })
}

/** After a try at these groups that failed: each further one waits twice as long as the one before, up to half a minute. */
export function afterFailure(beliefs: readonly Belief[], tried: readonly number[], now: number): Belief[] {
  return beliefs.map((belief) => {
    if (!tried.includes(belief.group)) return belief
    const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(belief.failures, 10))
    const failures = belief.failures + 1
    const failingSince = belief.failingSince ?? now
    return { ...belief, failures, failingSince, restUntil: now + pauseMs, restingFor: 'failure' }
  })
}

/** Something new was seen of the cluster: what failed before may work now. A cooldown goes on. */
export function withFreshHope(beliefs: readonly Belief[]): Belief[] {
  return beliefs.map((belief) => (belief.restingFor === 'failure' ? { ...belief, restUntil: 0 } : belief))
}

/** Secondaries, by nodeid, that are believed to be down. */
export function believedDown(beliefs: readonly Belief[]): number[] {
  return beliefs.flatMap(({ absences }) => absences.filter((of) => typeof of === 'number'))
}
