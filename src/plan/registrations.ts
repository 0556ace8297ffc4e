import { primaryOf } from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { formatAddress, sameAddress } from '../model/node.ts'
import type { Answered, Survey } from '../model/observation.ts'
import type { ListedStandby, Registration } from '../model/plan.ts'
import { type Remark, remark, type WarningCode } from '../model/remark.ts'
import { remedyOf } from '../model/remedy.ts'
import { streamsFrom } from '../model/server-state.ts'
import { type AliasOf, isAliasOf } from './alias.ts'

interface Asked {
  readonly survey: Survey
  /** The coordinator, which is proved to lead. */
  readonly coordinator: Answered
  /** Of the groups that may be changed. */
  readonly diagnoses: readonly Diagnosis[]
  readonly listed: readonly ListedStandby[]
  readonly aliases: readonly AliasOf[]
}

export interface Registrations {
  readonly registrations: readonly Registration[]
  /** Why a standby that has no row is not to get one now. */
  readonly remarks: readonly Remark<WarningCode>[]
}

/**
 * Which of the listed standbys are to get a row. Pure. Only what was seen to stream from the proved primary of a sound
 * group does, once a server, under the first of its names in the list; and nobody while a copy could not be brought up to
 * date, since then none would follow.
 */
export function registrationsOf(asked: Asked): Registrations {
  const { listed, diagnoses, coordinator } = asked
  const registrations: Registration[] = []
  const remarks: Remark<WarningCode>[] = []
  const taken = new Set<string>()
  for (const standby of listed) {
    const diagnosis = diagnoses.find((each) => each.group === standby.group)
    if (diagnosis?.standing !== 'sound' || isKnown(standby, asked)) continue
    const seen = serverAt(standby, asked.survey)
    if (seen && taken.has(seen.instance)) continue
    const why = obstacle(standby, seen, diagnosis.primary, coordinator) ?? unsynced(asked)
    const primary = primaryOf(coordinator.citus?.catalog ?? [], standby.group)
    if (why !== null || !seen || !primary) {
      const node = formatAddress(standby.address)
      const text = `group ${standby.group}: ${node} has no row in pg_dist_node and is not registered: ${why ?? 'the group has no primary'}`
      remarks.push(remark('not-registered', text, { group: standby.group, node }))
      continue
    }
    taken.add(seen.instance)
    const from = `streams from ${formatAddress(primary.address)}`
    registrations.push({ ...standby, primary: primary.address, why: from })
  }
  return { registrations, remarks }
}

/** One registration for people. */
export function describeRegistration({ group, address, cluster, why }: Registration): string {
  return `group ${group}: ${formatAddress(address)} gets a row as a secondary of cluster ${cluster}  (registered: ${why})`
}

function serverAt({ address }: Pick<ListedStandby, 'address'>, { nodes }: Survey): Answered | undefined {
  const seen = nodes.find((node) => sameAddress(node.address, address))
  return seen?.kind === 'answered' ? seen : undefined
}

/** Has it a row: at this address or another name of it, as the same server, as a clone, or one that is lent out? */
function isKnown(standby: ListedStandby, { survey, coordinator, aliases }: Asked): boolean {
  const rows = coordinator.citus?.catalog ?? []
  const lent = rows.flatMap((row) => remedyOf(row, coordinator.installed?.remedies ?? []) ?? [])
  const names = [...rows, ...lent].map((row) => row.address)
  const { address } = standby
  const named = names.some(
    (name) =>
      sameAddress(name, address) || isAliasOf(name, address, aliases) || isAliasOf(address, name, aliases),
  )
  const server = serverAt(standby, survey)?.instance
  return named || names.some((name) => server && serverAt({ address: name }, survey)?.instance === server)
}

/** What speaks against it; null: nothing. */
function obstacle(
  { group, address }: ListedStandby,
  seen: Answered | undefined,
  primary: Answered | null,
  coordinator: Answered,
): string | null {
  if (!primary) return 'its group’s primary does not answer'
  if (!seen) return 'it does not answer'
  if (seen.systemIdentifier !== primary.systemIdentifier)
    return `its system identifier is ${seen.systemIdentifier}, the group’s is ${primary.systemIdentifier}`
  if (seen.citus?.localGroup !== group)
    return `its pg_dist_local_group says ${seen.citus?.localGroup ?? 'nothing'}`
  if (!seen.inRecovery) return 'it takes writes'
  if (!streamsFrom(seen, primary)) return 'it does not stream from its group’s primary'
  return mayHave(coordinator, group, address)
    ? null
    : 'this role may not give the group that address; a superuser allows it with: citus-ha install --config FILE'
}

/** As `citus_ha.may_have_address` for an address that no row has. */
function mayHave({ superuser, installed }: Answered, group: number, address: ListedStandby['address']) {
  const spare = (installed?.spareAddresses ?? []).filter((each) => each.group === group)
  return superuser || spare.some((each) => sameAddress(each.address, address))
}

/**
 * Citus ships the rows to the metadata workers one after the other: one that is away or behind keeps all from them, and so
 * does the row of a primary that is down and names a standby meanwhile.
 */
function unsynced({ survey, coordinator }: Asked): string | null {
  const workers = (coordinator.citus?.catalog ?? []).filter((row) => row.hasmetadata && row.group !== 0)
  const readOnly = workers.find((row) => serverAt(row, survey)?.inRecovery)
  if (readOnly) return `first group ${readOnly.group} has to have a primary that takes writes`
  const behind = workers.find((row) => !row.metadatasynced || !serverAt(row, survey))
  return behind ? `first ${formatAddress(behind.address)} has to answer, with its metadata in sync` : null
}
