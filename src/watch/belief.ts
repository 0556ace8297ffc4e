import type { Diagnosis, DiagnosisCode } from '../model/diagnosis.ts'

/** What is believed of one group. Times are `performance.now()`, milliseconds. */
export interface Belief {
  readonly group: number
  /** The diagnosis that is believed; null: none yet, the first one waits for confirmation. */
  readonly diagnosis: Diagnosis | null
  /** How many surveys in a row, an interval apart, have shown an absence that is not believed yet. */
  readonly doubts: number
  /** When the last of them was. */
  readonly doubtedAt: number
  /** What they showed to be absent: the primary, or which secondaries. */
  readonly doubted: string | null
  /** Secondaries, by nodeid, that alone were doubted, and are not believed to be down yet. */
  readonly unconfirmed: readonly number[]
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
  'secondary-down',
  'read-only',
])

/** What is absent, as text: of secondaries, which; null: nothing. Another absence is believed by itself. */
function absenceOf({ code, secondaries }: Diagnosis): string | null {
  if (!OF_ABSENCE.has(code)) return null
  if (code !== 'secondary-down') return code
  return `${code} ${downIn({ secondaries }).join(' ')}`
}

function downIn({ secondaries }: Pick<Diagnosis, 'secondaries'>): number[] {
  return secondaries.filter(({ state }) => state === 'down').map(({ nodeid }) => nodeid)
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
  return { group, diagnosis: null, doubts: 0, doubtedAt: 0, doubted: null, unconfirmed: [], ...rest }
}

function weigh(
  known: Belief,
  diagnosis: Diagnosis,
  { surveys, apartMs }: Confirmation,
  now: number,
): Pick<Belief, 'diagnosis' | 'doubts' | 'doubtedAt' | 'doubted' | 'unconfirmed'> {
  const absence = absenceOf(diagnosis)
  const believed = known.diagnosis && absenceOf(known.diagnosis)
  const settled = { diagnosis, doubts: 0, doubtedAt: 0, doubted: null, unconfirmed: [] }
  if (absence === null || absence === believed) return settled
  const doubted = diagnosis.code === 'secondary-down' ? absence : 'the primary'
  const before = known.doubted === doubted ? known.doubts : 0
  const wereDown = known.diagnosis ? downIn(known.diagnosis) : []
  const isDown = diagnosis.code === 'secondary-down' ? downIn(diagnosis) : []
  const unconfirmed = isDown.filter((nodeid) => !wereDown.includes(nodeid))
  if (before > 0 && now - known.doubtedAt < apartMs) return { ...known, unconfirmed }
  const doubts = before + 1
  if (doubts >= surveys) return settled
  return { diagnosis: known.diagnosis, doubts, doubtedAt: now, doubted, unconfirmed }
}

/** Whether another survey is wanted soon, to confirm or to clear up what one showed. */
export function isUnsettled(beliefs: readonly Belief[]): boolean {
  return beliefs.some((belief) => belief.doubts > 0)
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
