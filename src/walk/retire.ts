import { setTimeout as pause } from 'node:timers/promises'
import { describeBlocker, type Watch } from '../apply/blockers.ts'
import { closeOldPrimary, dataLossAt, fenceOldPrimary } from '../apply/old-primary.ts'
import { idleLimit, openSession } from '../apply/participants.ts'
import { messageOf } from '../db/sqlstate.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { leftRunning, type Retired } from '../model/retired.ts'
import { type SeenServer, seenServer } from '../model/servers.ts'
import type { Access } from './access.ts'
import { limitsOf, watchOf } from './limits.ts'
import type { View } from './look.ts'
import type { WalkRequest } from './walk-request.ts'

/** How long one that is stopping may take to be stopped. Milliseconds. */
const STOPPING_MS = 2000
const POLL_MS = 20

/**
 * Old primaries that run on without having been retired, though their successors are registered: a change died after its
 * decision, somebody else has made it, or they were started again. One that is locked just now is left to the next run: a
 * switchover is about to do it.
 */
export async function retireLeft(
  access: Access,
  request: WalkRequest,
  { survey, diagnoses }: Pick<View, 'survey' | 'diagnoses'>,
): Promise<RetiredNow> {
  const all = await Promise.all(
    leftRunning(survey, diagnoses).map((each) => retireOne(access, request, each)),
  )
  return {
    failed: all.flatMap(({ failed }) => failed),
    warnings: all.flatMap(({ warnings }) => warnings),
  }
}

/** What became of old primaries that were left running. */
export interface RetiredNow {
  /** Why one could not be retired. */
  readonly failed: readonly string[]
  /** What may have happened before it was. */
  readonly warnings: readonly string[]
}

const NOTHING: RetiredNow = { failed: [], warnings: [] }

async function retireOne(access: Access, request: WalkRequest, retired: Retired): Promise<RetiredNow> {
  const now = await closeOne(access, request, retired)
  // A switchover that was about to do it may have stopped it meanwhile.
  return now.failed.length > 0 && !(await runsOn(access, request.database, retired.node.address))
    ? NOTHING
    : now
}

async function closeOne(access: Access, request: WalkRequest, retired: Retired): Promise<RetiredNow> {
  const at = formatAddress(retired.node.address)
  const watch = watchOf(access, request)
  const epoch = retired.node.installed?.epoch
  const seen = { ...seenServer(retired.node), ...(epoch && { epoch }) }
  try {
    const failed = await retireNow(access, request, retired, { seen, watch })
    if (failed.length > 0) return { failed, warnings: [] }
    request.progress(`group ${retired.group}: ${at}, an old primary that is still running, is retired`)
    // A switchover has kept it from that, and has made it read-only.
    return retired.node.readOnly ? NOTHING : { failed, warnings: [ranBeside(retired)] }
  } catch (error) {
    // Another run holds it, and does it.
    if (error instanceof NotOld || watch.seen.some(({ ours }) => ours)) return NOTHING
    const who = watch.seen.map((blocker) => `; blocked by ${describeBlocker(blocker)}`).join('')
    return { failed: [dataLossAt(at, `${messageOf(error)}${who}`)], warnings: [] }
  }
}

/** Its daemon does a round as soon as anybody connects, and nobody has seen what it did. */
function ranBeside({ group, node, primary }: Retired): string {
  const [was, is] = [formatAddress(node.address), formatAddress(primary.address)]
  return `group ${group}: ${was}, an old primary, was running beside ${is} and is retired now. Until then its Citus may have rolled back on other nodes what ${is} had prepared there: data loss is possible in transactions over several groups that were committed since ${was} was started`
}

interface Retiring {
  readonly seen: SeenServer
  /** Of who holds its shards. */
  readonly watch: Watch
}

/** It is no old primary any more: since it was seen it was made a standby, or promoted again. */
export class NotOld extends Error {}

/**
 * Retires an old primary, in the request's database. What it is by now is asked once the session is there: a server that is started
 * again after that has ended the session.
 * @returns why that is not known to have happened
 * @throws NotOld; what another try may mend: a lock that did not come, a connection that broke or was refused
 */
export async function retireNow(
  access: Access,
  request: WalkRequest,
  { group, node, primary }: Retired,
  { seen = seenServer(node), watch = watchOf(access, request) }: Partial<Retiring> = {},
): Promise<string[]> {
  const { address } = node
  const limits = limitsOf(request)
  const open = () => access.open(address, request.database)
  const session = await openSession(address, 'old primary', { open, limits, idleMs: idleLimit(limits) })
  try {
    await requireStill(access, request, node)
    const old = {
      ...{ group, node: address, successor: primary.address, seen },
      ...{ session, fencedSince: null, heldCopy: null },
    }
    const kept = await fenceOldPrimary(old, { limits, watch }, performance.now())
    const failed = await closeOldPrimary(kept, request.madeBy, { limits })
    return [...(kept.why === null ? [] : [kept.why]), ...failed]
  } finally {
    await session.close()
  }
}

/** @throws NotOld; Error where it does not answer */
async function requireStill(access: Access, { database }: WalkRequest, seen: Answered): Promise<void> {
  const now = await access.prober(database).probe(seen.address)
  if (now.kind !== 'answered') throw new Error(`${formatAddress(seen.address)} does not answer`)
  const isSame = now.systemIdentifier === seen.systemIdentifier && now.timeline === seen.timeline
  if (!isSame || now.inRecovery) throw new NotOld(`${formatAddress(seen.address)} is another by now`)
}

/** Whether that is not known to be over. */
export async function runsOn(access: Access, database: string, address: HostPort): Promise<boolean> {
  const until = performance.now() + STOPPING_MS
  for (;;) {
    const now = await access.prober(database).probe(address)
    if (now.kind === 'answered') return !(now.inRecovery || now.retired)
    if (now.kind === 'unreachable') return now.cause !== 'refused'
    // It says so while it stops as well.
    if (now.cause !== 'starting' || performance.now() >= until) return true
    await pause(POLL_MS)
  }
}
