import { formatAddress } from '../model/node.ts'
import { type Pause, pausedBy } from '../model/pause.ts'
import { changesNothing, type Plan, type RowChange } from '../model/plan.ts'
import type { Belief } from './belief.ts'
import type { Held, Leadership } from './event.ts'

/** What a watcher does next about a plan. */
export interface Intent {
  /**
   * `housekeeping`: no row of the coordinator's copy changes; `recovery`: no walk, only what earlier changes left
   * prepared is finished.
   */
  readonly kind: 'nothing' | 'change' | 'housekeeping' | 'recovery'
  /** The groups to walk for; empty unless there is a walk. */
  readonly groups: readonly number[]
  readonly held: readonly Pick<Held, 'group' | 'why' | 'would'>[]
  /** When a group that rests is to be looked at again, `performance.now()`; null: nothing is waited for. */
  readonly nextAt: number | null
}

export interface Circumstances {
  readonly leadership: Leadership
  readonly pauses: readonly Pause[]
  /** `performance.now()` */
  readonly now: number
  /** Whether something is prepared that an earlier change left. */
  readonly leftovers: boolean
  /** Groups whose fence this watcher holds: nobody else can change them. */
  readonly fenced: readonly number[]
  /** As `now`: housekeeping that failed is left alone until then. */
  readonly housekeepingRestUntil: number
}

const NOTHING: Intent = { kind: 'nothing', groups: [], held: [], nextAt: null }

/**
 * Which groups to change now, and which not, and why. Pure. Groups that failed before are tried one by one, so that one
 * that is blocked does not keep the others from their change.
 */
export function intentOf(plan: Plan, beliefs: readonly Belief[], given: Circumstances): Intent {
  const asked = [...new Set([...plan.changes, ...plan.registrations].map(({ group }) => group))]
  const judged = asked.map((group) => ({
    group,
    ...(isSwitchedOver(plan, group, given) ? LEFT_TO_THE_FENCE : judge(group, beliefs, given, plan)),
  }))
  const held = judged.flatMap(({ group, why }) =>
    why === null || why === 'failure' ? [] : [{ group, why, would: wouldBe(plan, group) }],
  )
  const ready = judged.filter(({ why }) => why === null)
  const fresh = ready.filter(({ failures }) => failures === 0)
  // A fence's change is made by itself: two of them would keep each other out.
  const fenced = ready.filter(({ group }) => given.fenced.includes(group)).slice(0, 1)
  const free = fresh.length > 0 ? fresh : ready.slice(0, 1)
  const chosen = fenced.length > 0 ? fenced : free
  const waits = judged.flatMap(({ until }) => until ?? [])
  const groups = chosen.map(({ group }) => group)
  if (groups.length > 0) return { kind: 'change', groups, held, nextAt: earliest(waits) }
  const rest = plan.changes.length > 0 ? recovery(given) : housekeeping(plan, beliefs, given)
  return { ...rest, held, nextAt: earliest([...waits, ...(rest.nextAt === null ? [] : [rest.nextAt])]) }
}

/**
 * Whoever holds a fence stops the primary himself, and promotes another one next: a stand-in for its reads would spend
 * the fence on the way.
 */
function isSwitchedOver({ changes }: Plan, group: number, { fenced }: Circumstances): boolean {
  return fenced.includes(group) && changes.some((each) => each.group === group && each.kind === 'degraded')
}

const LEFT_TO_THE_FENCE: Judgement = { why: 'fenced', failures: 0, until: null }

const earliest = (times: readonly number[]): number | null => (times.length > 0 ? Math.min(...times) : null)

/**
 * Where no walk will do it: what was left prepared holds up writers, and finishing it decides nothing. So neither a
 * pause nor a rest of any group keeps whoever leads from it.
 */
function recovery(given: Circumstances): Intent {
  if (!given.leftovers || given.leadership !== 'leading') return NOTHING
  if (given.now < given.housekeepingRestUntil) return { ...NOTHING, nextAt: given.housekeepingRestUntil }
  return { ...NOTHING, kind: 'recovery' }
}

/**
 * Nothing moved, but lines of primaries are to be recorded, copies handed to Citus's sync, remedies forgotten whose row
 * somebody else has changed, leftovers resolved.
 */
function housekeeping(plan: Plan, beliefs: readonly Belief[], given: Circumstances): Intent {
  const records = plan.proofs.length + plan.remediesStale.length
  if (changesNothing(plan) && records === 0 && !given.leftovers) return NOTHING
  const groups = beliefs.map((belief) => belief.group)
  const noBar: readonly unknown[] = [null, 'cooldown', 'failure']
  const free = groups.filter((group) => noBar.includes(judge(group, beliefs, given).why))
  if (free.length === 0) return recovery(given)
  return given.now < given.housekeepingRestUntil
    ? { ...NOTHING, nextAt: given.housekeepingRestUntil }
    : { ...NOTHING, kind: 'housekeeping', groups: free }
}

interface Judgement {
  readonly why: Held['why'] | 'failure' | null
  readonly failures: number
  readonly until: number | null
}

/** A copy that is not what the coordinator's is, and nothing else. */
function isRepair({ changes, registrations }: Plan, group: number): boolean {
  const own = changes.filter((change) => change.group === group)
  const repairs = own.every(({ kind }) => kind === 'drift-repaired' || kind === 'resync')
  return own.length > 0 && repairs && !registrations.some((each) => each.group === group)
}

/** Whether all that would be done may come of an absence that is not believed yet; of a primary's, everything may. */
function isInDoubt({ doubts }: Belief, changes: readonly RowChange[]): boolean {
  if (doubts.some(({ of }) => typeof of !== 'number')) return true
  return changes.length > 0 && changes.every(({ nodeid }) => doubts.some(({ of }) => of === nodeid))
}

function judge(group: number, beliefs: readonly Belief[], given: Circumstances, plan?: Plan): Judgement {
  const changes = (plan?.changes ?? []).filter((change) => change.group === group)
  const repairs = plan !== undefined && isRepair(plan, group)
  const belief = beliefs.find((each) => each.group === group)
  const failures = belief?.failures ?? 0
  const until = belief && belief.restUntil > given.now ? belief.restUntil : null
  const mine = given.leadership === 'leading' || given.fenced.includes(group)
  if (!mine) return { why: 'following', failures, until: null }
  if (pausedBy(given.pauses, group)) return { why: 'paused', failures, until: null }
  // An absence that is not believed yet moves nothing; the next survey may show that it was none.
  if (belief && isInDoubt(belief, changes)) return { why: 'unconfirmed', failures, until: null }
  // A cooldown is for what can wait; while a proved promotion is not written down, writes go to a server that is gone.
  // So they do by a copy that was left out.
  const isUrgent = belief?.restingFor === 'cooldown' && (repairs || belief.diagnosis?.standing === 'proved')
  if (until !== null && !isUrgent) return { why: belief?.restingFor ?? 'cooldown', failures, until }
  return { why: null, failures, until: null }
}

function wouldBe(plan: Plan, group: number): string[] {
  const changes = plan.changes
    .filter((change) => change.group === group)
    .map(({ kind, nodeid, from, to }) => `${kind}: node ${nodeid}, ${from} -> ${to}`)
  const standbys = plan.registrations.filter((each) => each.group === group)
  return [...changes, ...standbys.map(({ address }) => `registered: ${formatAddress(address)}`)]
}
