import { setTimeout as pause } from 'node:timers/promises'
import { closeOldPrimary, fenceOldPrimary } from '../apply/old-primary.ts'
import { idleLimit, openSession } from '../apply/participants.ts'
import { codeOf, mayTryAgain, messageOf } from '../db/sqlstate.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { leftRunning, type Retired } from '../model/retired.ts'
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
 * @returns why one could not be retired
 */
export async function retireLeft(
  access: Access,
  request: WalkRequest,
  { survey, diagnoses }: Pick<View, 'survey' | 'diagnoses'>,
): Promise<string[]> {
  const failed = await Promise.all(
    leftRunning(survey, diagnoses).map((each) => retireOne(access, request, each)),
  )
  return failed.flat()
}

async function retireOne(access: Access, request: WalkRequest, retired: Retired): Promise<string[]> {
  const failed = await closeOne(access, request, retired)
  // A switchover that was about to do it may have stopped it meanwhile.
  return failed.length > 0 && (await runsOn(access, request.database, retired.node.address)) ? failed : []
}

async function closeOne(access: Access, request: WalkRequest, retired: Retired): Promise<string[]> {
  const at = formatAddress(retired.node.address)
  try {
    const failed = await retireNow(access, request, retired)
    if (failed.length === 0)
      request.progress(`group ${retired.group}: ${at}, an old primary that is still running, is retired`)
    return failed
  } catch (error) {
    if (error instanceof NotOld || mayTryAgain(codeOf(error))) return []
    return [`${at}, an old primary that is still running, could not be retired: ${messageOf(error)}`]
  }
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
): Promise<string[]> {
  const { address } = node
  const [limits, watch] = [limitsOf(request), watchOf(access, request)]
  const open = () => access.open(address, request.database)
  const session = await openSession(address, 'old primary', { open, limits, idleMs: idleLimit(limits) })
  try {
    await requireStill(access, request, node)
    const successor = primary.address
    const old = { group, node: address, successor, session, fencedSince: null, heldCopy: null }
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
