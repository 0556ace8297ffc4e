import { primaryOf } from './catalog.ts'
import type { Diagnosis } from './diagnosis.ts'
import { coordinatorOf } from './kinds.ts'
import { formatAddress, sameAddress } from './node.ts'
import type { Answered, Survey } from './observation.ts'
import { START_SERVER, STOP_SERVER } from './server-commands.ts'
import { conninfo, psqlAsSuperuser, quoted, shellWord } from './shell.ts'

/**
 * What a switchover sets on the old primary, by ALTER SYSTEM, before anything is promoted. All take effect at a reload.
 * Citus's 2PC recovery there would roll back what the new primary prepares on others; an old coordinator also drops shards
 * and runs background jobs by what it knew.
 */
export const HELD_SETTINGS = [
  { name: 'default_transaction_read_only', value: 'on', of: 'every group' },
  { name: 'citus.recover_2pc_interval', value: '-1', of: 'every group' },
  { name: 'citus.defer_shard_delete_interval', value: '-1', of: 'the coordinator' },
  { name: 'citus.background_task_queue_interval', value: '-1', of: 'the coordinator' },
] as const

/** A retired server's own group id, less its group: none is that high (`citus_ha.retire`). */
const RETIRED_GROUPS = 1_000_000_000

/** Where Citus's connections from a retired server to any node lead (`citus_ha.cut_off`). */
export const CUT_OFF = 'host=/an-old-primary-retired-by-citus-ha'

/** What `pg_dist_local_group` says. */
export function readLocalGroup(groupid: number): { readonly group: number; readonly retired: boolean } {
  return { group: groupid % RETIRED_GROUPS, retired: groupid >= RETIRED_GROUPS }
}

/** An old primary that a switchover left running, read-only, and the primary that has taken its place. */
export interface Retired {
  readonly group: number
  readonly node: Answered
  readonly primary: Answered
}

/** Those that are known not to be their group's primary: read-only, or retired. */
export function retiredIn(survey: Survey, diagnoses: readonly Diagnosis[]): Retired[] {
  return othersIn(survey, diagnoses).filter(({ node }) => node.readOnly || node.retired)
}

/**
 * Those that are to be retired: the registered primary's line has left theirs behind. Where they take writes too, which is
 * split-brain, the primary's timeline has to be the one that was recorded.
 */
export function leftRunning(survey: Survey, diagnoses: readonly Diagnosis[]): Retired[] {
  const known = diagnoses.flatMap((diagnosis): Diagnosis[] => {
    if (diagnosis.standing === 'sound') return [diagnosis]
    const primary = diagnosis.code === 'split-brain' ? recordedPrimary(survey, diagnosis.group) : null
    return primary ? [{ ...diagnosis, primary }] : []
  })
  return othersIn(survey, known)
    .filter(({ node }) => !node.retired && node.citus?.useSecondaryNodes === 'never')
    .filter(({ node, primary }) => (primary.history ?? []).some(({ timeline }) => timeline === node.timeline))
}

/** The registered primary, where it is on the timeline that is recorded of its group. */
function recordedPrimary(survey: Survey, group: number): Answered | null {
  const coordinator = coordinatorOf(survey.nodes)
  const row = primaryOf(coordinator?.citus?.catalog ?? [], group)
  const recorded = coordinator?.installed?.lineage.find((line) => line.group === group)
  const node = survey.nodes.find((each) => row && sameAddress(each.address, row.address))
  if (node?.kind !== 'answered' || node.inRecovery || node.retired) return null
  return node.timeline === recorded?.timeline && node.systemIdentifier === recorded?.systemIdentifier
    ? node
    : null
}

/** Writable servers of a group's line beside its primary. */
function othersIn(survey: Survey, diagnoses: readonly Diagnosis[]): Retired[] {
  return diagnoses.flatMap(({ group, primary }) => {
    if (!primary) return []
    const old = survey.nodes
      .filter((node): node is Answered => node.kind === 'answered' && !node.inRecovery)
      .filter(
        (node) => node.citus?.localGroup === group && node.systemIdentifier === primary.systemIdentifier,
      )
      .filter((node) => node.instance !== primary.instance)
    const distinct = old.filter(
      (node, n) => old.findIndex(({ instance }) => instance === node.instance) === n,
    )
    return distinct.map((node) => ({ group, node, primary }))
  })
}

/** How one is put back that was retired though nobody has taken its place; '' where it is not retired. */
export function putBack({ retired, inRecovery, address }: Answered): string {
  if (!retired || inRecovery) return ''
  const sql = [
    `UPDATE pg_dist_local_group SET groupid = groupid - ${RETIRED_GROUPS}`,
    'DELETE FROM citus_ha.retired',
    `DELETE FROM pg_dist_poolinfo WHERE poolinfo = ${quoted(CUT_OFF)}`,
    'UPDATE pg_dist_poolinfo SET nodeid = -nodeid WHERE nodeid < 0',
  ].join('; ')
  return `. Only if no other server has replaced ${formatAddress(address)} (SELECT * FROM citus_ha.retired there names the new primary), undo this there, as a superuser in each database: ${sql}`
}

/** Before PostgreSQL 16 `pg_rewind` goes by the source’s last checkpoint, which may be older than its promotion. */
const SEES_PROMOTIONS = 160_000

/** What makes a standby of it, run where it lives; each part only after the one before: it must not start as a primary. */
export function rejoinCommand({ primary }: Retired, database: string): string {
  const source = shellWord(conninfo(primary.address, database))
  return [
    STOP_SERVER,
    ...(primary.serverVersion < SEES_PROMOTIONS
      ? [psqlAsSuperuser(primary.address, database, 'CHECKPOINT')]
      : []),
    `pg_rewind -D DATA_DIRECTORY -R --source-server=${source}`,
    START_SERVER,
  ].join(' && ')
}

export function describeRetired(retired: Retired, database: string): string {
  const { group, node } = retired
  const how = node.readOnly ? '(read-only)' : 'and takes writes from its own clients, which are lost'
  return `group ${group}: ${formatAddress(node.address)}, an old primary, is still running ${how}. To make it a standby, run there: ${rejoinCommand(retired, database)}   # or rebuild it by pg_basebackup`
}
