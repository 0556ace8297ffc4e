import { setTimeout as pause } from 'node:timers/promises'
import { takesWritesOf } from '../model/kinds.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Observation, Survey } from '../model/observation.ts'
import type { Access } from '../walk/access.ts'
import type { WalkRequest } from '../walk/walk-request.ts'
import type { Move } from './check.ts'

/**
 * Whether somebody else has promoted a server of the group while its old primary was down: each member is asked, by the rows,
 * the configuration and its own word in the survey. Who does not answer may be promoted.
 * @param survey of before the fence
 * @returns why the old primary must not take writes again; null: nobody is in its place. Never throws
 */
export async function whyNotOpened(
  access: Access,
  { database, claims }: Pick<WalkRequest, 'database' | 'claims'>,
  survey: Survey,
  move: Move,
): Promise<string | null> {
  const prober = access.prober(database)
  const seen = await Promise.all(
    membersOf(survey, claims.standbys, move).map((address) => prober.probe(address)),
  )
  const promoted = seen.find((node) => isPromoted(node, move))
  if (promoted) return inPlace(promoted.address, move)
  const silent = seen.find((node) => node.kind !== 'answered')
  if (!silent) return null
  return `it is not known whether ${formatAddress(silent.address)} is promoted: it does not answer`
}

/** Writes wait meanwhile: who has not answered by then is as he was. Milliseconds. */
const GLANCE_MS = 200

/**
 * The same of an old primary that runs, and was kept from writing meanwhile: who does not answer keeps it from nothing.
 * @returns who is promoted in its place; null: nobody is known to be. Never throws
 */
export async function promotedBeside(
  access: Access,
  { database, claims }: Pick<WalkRequest, 'database' | 'claims'>,
  survey: Survey,
  move: Move,
): Promise<HostPort | null> {
  const prober = access.prober(database)
  const asked = membersOf(survey, claims.standbys, move).map(async (address) => {
    const late = pause(GLANCE_MS, null, { ref: false })
    const node = await Promise.race([prober.probe(address), late])
    return node !== null && isPromoted(node, move) ? address : null
  })
  return (await Promise.all(asked)).find((address) => address !== null) ?? null
}

export function inPlace(promoted: HostPort, { from }: Move): string {
  return `${formatAddress(promoted)} is promoted instead of ${formatAddress(from.address)}`
}

function isPromoted(node: Observation, { group, from }: Move): boolean {
  return takesWritesOf(node, group) && node.systemIdentifier === from.systemIdentifier
}

/** All but the old primary, under whatever name it is in a row. */
function membersOf(
  { nodes }: Survey,
  standbys: WalkRequest['claims']['standbys'],
  { group, from, to }: Move,
): HostPort[] {
  const rows = nodes.flatMap((node) => (node.kind === 'answered' ? (node.citus?.catalog ?? []) : []))
  const answered = nodes.flatMap((node) =>
    node.kind === 'answered' && node.citus?.localGroup === group ? [node.address] : [],
  )
  const registered = [...rows, ...standbys].flatMap((each) => (each.group === group ? [each.address] : []))
  const own = nodes.flatMap((node) =>
    node.kind === 'answered' && node.instance === from.instance ? [node.address] : [],
  )
  const members: HostPort[] = []
  for (const address of [to.address, ...answered, ...registered])
    if (![from.address, ...own, ...members].some((known) => sameAddress(known, address)))
      members.push(address)
  return members
}
