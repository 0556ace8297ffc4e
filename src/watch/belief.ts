import type { Diagnosis, DiagnosisCode } from '../model/diagnosis.ts'

/** An absence that surveys have shown, and that is not believed yet. */
interface Doubt {
  /** The primary, or a secondary by its nodeid. */
  readonly of: 'the primary' | number
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
  /** Secondaries, by nodeid, that are believed to be down. */
  readonly down: readonly number[]
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

function absencesIn({ code, secondaries }: Diagnosis): Doubt['of'][] {
  const down = secondaries.filter(({ state }) => state === 'down').map(({ nodeid }) => nodeid)
  return [...(OF_ABSENCE.has(code) ? (['the primary'] as const) : []), ...down]
}

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
  return { group, diagnosis: null, down: [], doubts: [], ...rest }
}

function weigh(
  known: Belief,
  diagnosis: Diagnosis,
  { surveys, apartMs }: Confirmation,
  now: number,
): Pick<Belief, 'diagnosis' | 'down' | 'doubts'> {
  const isBelieved = (of: Doubt['of']) =>
    of === 'the primary' ? known.diagnosis?.code === diagnosis.code : known.down.includes(of)
  const shown = (of: Doubt['of']): Doubt => {
    const before = known.doubts.find((doubt) => doubt.of === of)
    if (before && now - before.at < apartMs) return before
    return { of, surveys: (before?.surveys ?? 0) + 1, at: now }
  }
  const absences = absencesIn(diagnosis)
  const doubts = absences
    .filter((of) => !isBelieved(of))
    .map(shown)
    .filter((doubt) => doubt.surveys < surveys)
  const isDoubted = (of: Doubt['of']) => doubts.some((doubt) => doubt.of === of)
  const down = absences.filter((of) => of !== 'the primary').filter((of) => !isDoubted(of))
  const isInDoubt = diagnosis.code === 'secondary-down' ? down.length === 0 : isDoubted('the primary')
  return { diagnosis: isInDoubt ? known.diagnosis : diagnosis, down, doubts }
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
