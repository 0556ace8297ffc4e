import { type Catalog, COORDINATOR_GROUP, primaryOf } from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Remedy } from '../model/observation.ts'
import type { RowChange } from '../model/plan.ts'
import { type Remark, remark, type WarningCode } from '../model/remark.ts'
import { isStale, remedyOf, withoutRemedies } from '../model/remedy.ts'
import { psqlAsSuperuser, quoted } from '../model/shell.ts'
import { degrade } from './degrade.ts'
import { changesBetween, type Draft, edit } from './draft.ts'
import { settleSecondaries } from './secondaries.ts'
import type { Routing, TargetInput } from './target-input.ts'

export interface Target {
  readonly catalog: Catalog
  readonly remedies: readonly Remedy[]
  readonly changes: readonly RowChange[]
  readonly remarks: readonly Remark<WarningCode>[]
}

/** What the coordinator's copy should say. Pure; equal to the copy where nothing has to change. */
export function targetOf(input: TargetInput): Target {
  const { catalog, remedies, routing } = input
  const settled = input.diagnoses.filter((diagnosis) => isSettled(diagnosis, routing))
  const ofSettled = (remedy: Remedy) => settled.some(({ group }) => group === remedy.group)
  // A row that somebody else has changed since is not ours to undo, and its remedy is forgotten.
  const standing = remedies.filter((remedy) => !isStale(remedy, catalog))
  const draft: Draft = {
    catalog: withoutRemedies(catalog, standing.filter(ofSettled)),
    remedies: standing.filter((remedy) => !ofSettled(remedy)),
    why: new Map(),
    remarks: [],
  }
  for (const diagnosis of settled) settle(draft, input, diagnosis)
  return {
    catalog: draft.catalog,
    remedies: draft.remedies,
    changes: changesBetween(catalog, draft.catalog, draft.why),
    remarks: draft.remarks,
  }
}

/** Groups whose rows are worked out anew; those of others stay as they are. */
function isSettled({ standing, code }: Diagnosis, { primaryDown }: Routing): boolean {
  return (
    (standing !== 'refused' && code !== 'disabled') ||
    (code === 'primary-down' && primaryDown === 'secondary')
  )
}

function settle(draft: Draft, input: TargetInput, diagnosis: Diagnosis): void {
  const { standing, primary, group } = diagnosis
  if (standing === 'proved' && primary) failOver(draft, input, diagnosis, primary.address)
  else if (standing === 'sound') endDegraded(draft, input, group)
  settleSecondaries(draft, input, group)
  if (standing === 'refused') degrade(draft, input, diagnosis)
}

/** The primary's row moves to the new primary; the row that had its address, if any, gets the old one. */
function failOver(
  draft: Draft,
  { coordinator, database }: TargetInput,
  { group, summary }: Diagnosis,
  promoted: HostPort,
): void {
  const old = primaryOf(draft.catalog, group)
  if (!old) return
  const swapped = draft.catalog.find((row) => row.nodeid !== old.nodeid && sameAddress(row.address, promoted))
  if (swapped && swapped.group !== group) {
    const text = `group ${group}: ${formatAddress(promoted)} has a row in group ${swapped.group}; remove that row first`
    draft.remarks.push(remark('row-taken', text, { group, node: promoted }))
    return
  }
  // The rack is the machine's: it goes where the address goes. A machine that has no row keeps the primary's.
  edit(draft, old, { address: promoted, ...(swapped ? { rack: swapped.rack } : {}) })
  draft.why.set(old.nodeid, { kind: 'primary-moved', why: summary })
  if (swapped) {
    edit(draft, swapped, { address: old.address, rack: old.rack })
    draft.why.set(swapped.nodeid, { kind: 'secondary-moved', why: 'takes the old primary’s address' })
  } else if (group !== COORDINATOR_GROUP) {
    // A standby of the coordinator is known from the configuration, and commonly has no row.
    const [was, is] = [old.address, promoted]
    const sql = `SELECT citus_add_secondary_node(${quoted(was.host)}, ${was.port}, ${quoted(is.host)}, ${is.port})`
    const text = `group ${group}: ${formatAddress(was)}, the old primary, is in no row any more, and status does not show it: its row names ${formatAddress(is)}, which had none. Once it is a standby of that, give it a row: ${psqlAsSuperuser(coordinator, database, sql)}`
    draft.remarks.push(remark('without-row', text, { group, node: was }))
  }
}

function endDegraded(draft: Draft, { catalog, remedies }: TargetInput, group: number): void {
  const primary = primaryOf(catalog, group)
  if (!primary || !remedyOf(primary, remedies)) return
  draft.why.set(primary.nodeid, { kind: 'degraded-ended', why: 'the primary is running again' })
}
