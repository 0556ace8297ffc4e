import { show } from '../diagnose/witnesses.ts'
import type { Prepared } from '../install/install.ts'
import type { InstallOrder } from '../install/plan.ts'
import type { CatalogRow } from '../model/catalog.ts'
import { CitusHaError } from '../model/failure.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import type { Access } from './access.ts'
import { allowedOf, installOne } from './install.ts'
import type { WalkRequest } from './walk-request.ts'

/** One server, by itself, and one of its databases that Citus is in. */
export interface Here {
  readonly node: Answered
  readonly database: string
  /** Primaries of the other groups, as this server's copy of `pg_dist_node` has them. */
  readonly others: readonly CatalogRow[]
}

/**
 * The databases of one server that Citus is in; no other server is asked.
 * @param first where it is looked for which there are
 * @throws CitusHaError where the server can't be read, is a standby, or has none; or where this role is no superuser
 */
export async function lookHere(access: Access, server: HostPort, first: string): Promise<Here[]> {
  const at = formatAddress(server)
  const seen = await access.prober(first).probe(server)
  if (seen.kind === 'unreachable') throw new CitusHaError('blocked', show(seen))
  if (seen.kind === 'unreadable') throw new CitusHaError('configuration', show(seen))
  if (seen.inRecovery)
    throw new CitusHaError(
      'configuration',
      `${at}: this server is a standby, which gets the schema by replay. Run the same command on the machine of its primary`,
    )
  if (!seen.superuser)
    throw new CitusHaError(
      'configuration',
      `${at}: this needs a superuser; connect as one, for example with --user postgres`,
    )
  const names = [...new Set([first, ...seen.databases, ...seen.citusDatabases])]
  const here: Here[] = []
  for (const database of names) {
    const node = database === first ? seen : await access.prober(database).probe(server)
    if (node.kind !== 'answered' || !node.citus || node.citus.catalog.length === 0) continue
    const { catalog, localGroup } = node.citus
    const others = catalog.filter(({ group, role }) => role === 'primary' && group !== localGroup)
    here.push({ node, database, others })
  }
  if (here.length === 0)
    throw new CitusHaError(
      'configuration',
      `${at}: none of its databases has the node metadata of Citus: ${names.join(', ')}`,
    )
  return here
}

/** @param mode `rehearse`: what would be done is found out, and nothing is changed */
export async function installHere(
  access: Access,
  { node, database }: Here,
  request: WalkRequest,
  order: Pick<InstallOrder, 'role' | 'switchover'>,
  mode: 'install' | 'rehearse',
): Promise<Prepared> {
  return await installOne(access, database, node, { ...order, allowed: allowedOf(request, node) }, mode)
}
