import { type Catalog, type CatalogRow, primaryOf } from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Remedy } from '../model/observation.ts'
import type { RowChange } from '../model/plan.ts'
import { type AliasOf, aliasOf, isAliasOf } from './alias.ts'
import { type Reader, readsWork, readTargets } from './routes.ts'

/** What the target of a change is made from. */
export interface TargetInput {
  /** The coordinator's copy as it is. */
  readonly catalog: Catalog
  readonly diagnoses: readonly Diagnosis[]
  readonly remedies: readonly Remedy[]
  /** Expand coordinators that were seen: someone reads through secondaries. */
  readonly expandReaders: readonly Reader[]
  readonly aliases: readonly AliasOf[]
  /** Is there a standby of the group at this address? Reads of a stale, still writable old primary are no remedy. */
  readonly servesAsStandby: (group: number, address: HostPort) => boolean
  /** Does a standby at this address stream from the group's primary? */
  readonly streams: (group: number, address: HostPort) => boolean
}

export interface Target {
  readonly catalog: Catalog
  readonly remedies: readonly Remedy[]
  readonly changes: readonly RowChange[]
  readonly warnings: readonly string[]
}

interface Draft {
  catalog: Catalog
  remedies: Remedy[]
  readonly why: Map<number, { kind: RowChange['kind']; why: string }>
  readonly warnings: string[]
}

/** What the coordinator's copy should say. Pure; equal to the copy where nothing has to change. */
export function targetOf(input: TargetInput): Target {
  const draft: Draft = { catalog: input.catalog, remedies: [...input.remedies], why: new Map(), warnings: [] }
  for (const diagnosis of input.diagnoses) {
    if (diagnosis.standing === 'proved' && diagnosis.primary)
      failOver(draft, input, diagnosis, diagnosis.primary.address)
    if (diagnosis.standing === 'sound') endRemedies(draft, input, diagnosis.group)
  }
  const { catalog, remedies, warnings } = draft
  return { catalog, remedies, warnings, changes: changesBetween(input.catalog, catalog, draft.why) }
}

/** The primary's row moves to the new primary; the row that had its address, if any, gets the old one. */
function failOver(draft: Draft, input: TargetInput, diagnosis: Diagnosis, promoted: HostPort): void {
  const { group } = diagnosis
  const old = primaryOf(draft.catalog, group)
  if (!old) return
  for (const remedy of draft.remedies.filter((each) => each.group === group)) restore(draft, remedy)
  const swapped = draft.catalog.find((row) => row.nodeid !== old.nodeid && sameAddress(row.address, promoted))
  if (swapped && swapped.group !== group) {
    draft.warnings.push(
      `group ${group}: ${formatAddress(promoted)} has a row in group ${swapped.group}; remove that row first`,
    )
    return
  }
  // The rack is the machine's: it goes where the address goes. A machine that has no row keeps the primary's.
  edit(draft, old, { address: promoted, ...(swapped ? { rack: swapped.rack } : {}) })
  draft.why.set(old.nodeid, { kind: 'primary-moved', why: diagnosis.summary })
  if (swapped) {
    edit(draft, swapped, { address: old.address, rack: old.rack })
    draft.why.set(swapped.nodeid, { kind: 'secondary-moved', why: 'takes the old primary’s address' })
  }
  for (const reader of input.expandReaders) keepReadsWorking(draft, input, group, reader, promoted)
}

/**
 * “Never worse than doing nothing”: reads through secondaries work after the change, where any row is active.
 *
 * Citus takes the first row of the group in physical order and looks at `isactive` afterwards, so that an
 * inactive row in front breaks reads that a later row could serve. A dead row is therefore pointed at a live
 * node, by another name of it: a live secondary, else the primary.
 */
function keepReadsWorking(
  draft: Draft,
  input: TargetInput,
  group: number,
  reader: Reader,
  primary: HostPort,
): void {
  const serves = (address: HostPort) =>
    input.servesAsStandby(group, address) && !sameAddress(address, primary)
  if (readsWork(draft.catalog, reader, group, serves)) return
  const targets = readTargets(draft.catalog, reader, group)
  const live = [...targets.filter(serves), primary]
  const dead = draft.catalog.filter(
    (row) =>
      row.group === group && targets.some((at) => sameAddress(at, row.address)) && !serves(row.address),
  )
  for (const row of dead) pointAt(draft, input, row, live)
}

/** Gives a dead secondary's row another name of the first live node that has one to spare. */
function pointAt(draft: Draft, input: TargetInput, row: CatalogRow, live: readonly HostPort[]): void {
  const free = (alias: HostPort) => !draft.catalog.some((other) => sameAddress(other.address, alias))
  const choices = live.map((node) => ({ node, alias: aliasOf(node, input.aliases) }))
  const choice = choices.find(({ alias }) => alias !== null && free(alias))
  remember(draft, row)
  if (!choice?.alias) {
    edit(draft, row, { isactive: false })
    draft.why.set(row.nodeid, { kind: 'remedy', why: 'down, and no live node has another name to give it' })
    draft.warnings.push(
      `group ${row.group}: ${formatAddress(row.address)} is down and set inactive; reads through secondaries may fail: configure an alias of ${live.map(formatAddress).join(' or ')} under "addresses"`,
    )
    return
  }
  const rack = draft.catalog.find((each) => sameAddress(each.address, choice.node))?.rack ?? row.rack
  edit(draft, row, { address: choice.alias, rack })
  draft.why.set(row.nodeid, {
    kind: 'remedy',
    why: `down: its reads go to ${formatAddress(choice.node)} by another name`,
  })
}

/** A remedy ends once the node it stood in for streams from the group's primary again. */
function endRemedies(draft: Draft, input: TargetInput, group: number): void {
  for (const remedy of draft.remedies.filter((each) => each.group === group)) {
    const row = draft.catalog.find((each) => each.nodeid === remedy.nodeid)
    const stillOurs = row && (!row.isactive || isAlias(draft.catalog, row, input.aliases))
    if (!stillOurs) forget(draft, remedy)
    else if (input.streams(group, remedy.address)) {
      restore(draft, remedy)
      draft.why.set(remedy.nodeid, { kind: 'remedy-ended', why: 'it streams from the primary again' })
    }
  }
}

/** Is this row's address another name of a node that has a row of its own in the group? */
function isAlias(catalog: Catalog, row: CatalogRow, aliases: readonly AliasOf[]): boolean {
  return catalog.some((other) => other.group === row.group && isAliasOf(row.address, other.address, aliases))
}

function edit(draft: Draft, row: CatalogRow, change: Partial<CatalogRow>): void {
  draft.catalog = draft.catalog.map((each) => (each.nodeid === row.nodeid ? { ...each, ...change } : each))
}

function remember(draft: Draft, row: CatalogRow): void {
  const { nodeid, group, address, rack, isactive } = row
  draft.remedies.push({ nodeid, group, address, rack, isactive })
}

function forget(draft: Draft, remedy: Remedy): void {
  draft.remedies = draft.remedies.filter((each) => each.nodeid !== remedy.nodeid)
}

function restore(draft: Draft, remedy: Remedy): void {
  const row = draft.catalog.find((each) => each.nodeid === remedy.nodeid)
  forget(draft, remedy)
  if (row && !draft.catalog.some((other) => other !== row && sameAddress(other.address, remedy.address))) {
    edit(draft, row, { address: remedy.address, rack: remedy.rack, isactive: remedy.isactive })
  }
}

function changesBetween(before: Catalog, after: Catalog, why: Draft['why']): RowChange[] {
  return before.flatMap((row): RowChange[] => {
    const target = after.find((each) => each.nodeid === row.nodeid)
    if (!target) return []
    const reason = why.get(row.nodeid) ?? { kind: 'drift-repaired' as const, why: '' }
    const given = { group: row.group, nodeid: row.nodeid, ...reason }
    if (!sameAddress(row.address, target.address)) {
      return [{ ...given, from: formatAddress(row.address), to: formatAddress(target.address) }]
    }
    if (row.isactive === target.isactive) return []
    return [
      { ...given, from: row.isactive ? 'active' : 'inactive', to: target.isactive ? 'active' : 'inactive' },
    ]
  })
}
