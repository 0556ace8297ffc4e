import type { Catalog, CatalogRow } from '../../../src/model/catalog.ts'
import type { Intent } from '../../../src/model/intent.ts'
import type { HostPort } from '../../../src/model/node.ts'
import type { Lineage, Position, Remedy } from '../../../src/model/observation.ts'

export interface Stamp {
  readonly timeline: number
  readonly epoch: number
}

/** A row of `citus_ha.change`. */
export interface Change extends Stamp {
  readonly madeBy: string
  readonly gids: readonly string[]
  readonly after: Catalog
}

/** How far a server was known to be, and when that was written down, by the world's clock. */
export type Recorded = Omit<Position, 'ageMs'> & { readonly at: number }

/** All that is in one server's database, at one position of its WAL. */
export interface Data {
  readonly rows: Catalog
  readonly epoch: Stamp
  readonly changes: readonly Change[]
  readonly lineage: readonly Lineage[]
  readonly positions: readonly Recorded[]
  /** `allowed_address` and `former_address`. */
  readonly addresses: readonly { readonly group: number; readonly address: HostPort }[]
  /** `citus_ha.remedy`. */
  readonly remedies: readonly Remedy[]
  /** Prepared transactions: what they will have written once committed. */
  readonly prepared: ReadonlyMap<string, readonly Write[]>
  /** `citus_ha.intent`, with what the server had been set to where it is about the server itself. */
  readonly intents: readonly (Intent & { readonly settings?: Readonly<Record<string, string>> })[]
  /** `pg_dist_local_group` says a group that no group has. */
  readonly retired: boolean
  /** What clients have written, by number. */
  readonly client: readonly number[]
  /** `pg_dist_transaction`: what clients that came in here prepared elsewhere, and have committed. */
  readonly records: readonly string[]
}

/** What one statement writes, once it is committed. */
export type Write = (data: Data) => Data

export function written(data: Data, writes: readonly Write[]): Data {
  return writes.reduce((now, write) => write(now), data)
}

export function without<K, V>(map: ReadonlyMap<K, V>, key: K): ReadonlyMap<K, V> {
  const copy = new Map(map)
  copy.delete(key)
  return copy
}

export function isBefore(a: Stamp, b: Stamp): boolean {
  return a.timeline < b.timeline || (a.timeline === b.timeline && a.epoch < b.epoch)
}

/** As `to_jsonb(pg_dist_node)` has it. */
export function rawRow(row: CatalogRow) {
  return {
    nodeid: row.nodeid,
    groupid: row.group,
    nodename: row.address.host,
    nodeport: row.address.port,
    noderack: row.rack,
    hasmetadata: row.hasmetadata,
    isactive: row.isactive,
    noderole: row.role,
    nodecluster: row.cluster,
    metadatasynced: row.metadatasynced,
    shouldhaveshards: row.shouldhaveshards,
    nodeisclone: row.isclone,
  }
}

/** An error as a server sends it. */
export class ServerError extends Error {
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}
