import { type Catalog, primaryOf } from '../model/catalog.ts'
import type { Kind } from '../model/kinds.ts'
import type { HostPort } from '../model/node.ts'

/** How a coordinator of some kind finds the node of a group. */
export interface Reader {
  readonly kind: Kind
  /** `citus.cluster_name`; counts for an expand coordinator only. */
  readonly cluster: string
}

/**
 * Rows that a read of this group may be sent to, by this reader. An expand coordinator takes the first active
 * secondary of its cluster in an order of its own (Citus: `LookupNodeForGroup`), so any of them.
 */
export function readTargets(catalog: Catalog, reader: Reader, group: number): HostPort[] {
  if (reader.kind === 'expand coordinator') {
    return catalog
      .filter((row) => row.group === group && row.role === 'secondary' && row.isactive && !row.isclone)
      .filter((row) => row.cluster === reader.cluster)
      .map((row) => row.address)
  }
  const primary = primaryOf(catalog, group)
  return primary?.isactive ? [primary.address] : []
}

/** Whether reads of this group work for this reader: there is a target, and every target there is serves. */
export function readsWork(
  catalog: Catalog,
  reader: Reader,
  group: number,
  serves: (address: HostPort) => boolean,
): boolean {
  const targets = readTargets(catalog, reader, group)
  return targets.length > 0 && targets.every(serves)
}
