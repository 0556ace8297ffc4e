import type { Ailing } from './ailing.ts'
import type { Catalog } from './catalog.ts'
import type { HostPort } from './node.ts'
import type { LineProof, Remedy } from './observation.ts'
import type { Remark, WarningCode } from './remark.ts'
import type { SeenServer } from './servers.ts'

/** One change of one row, with what it expects to find. Carried out by `citus_ha.take_step`. */
export type Step =
  | { readonly op: 'move'; readonly nodeid: number; readonly from: HostPort; readonly to: HostPort }
  | SetStep<'isactive', boolean>
  | SetStep<'shouldhaveshards', boolean>
  | SetStep<'noderack', string>
  /** Of the secondaries of its group and cluster the one that Citus reads from. */
  | { readonly op: 'first'; readonly nodeid: number }

interface SetStep<Column extends string, Value> {
  readonly op: 'set'
  readonly nodeid: number
  readonly column: Column
  readonly from: Value
  readonly to: Value
}

export type CopyRole = 'coordinator' | 'metadata worker' | 'promoted' | 'expand coordinator'

/** What a change does to one writable copy. No steps: it takes part, and is proved, all the same. */
export interface CopyPlan {
  readonly node: HostPort
  readonly role: CopyRole
  /** The copy as surveyed; under the lock it has to be this, or `after` already. */
  readonly before: Catalog
  readonly steps: readonly Step[]
  readonly after: Catalog
  /** Whether Citus's records of two-phase commits are to be guarded there. */
  readonly isGuarded: boolean
}

/** A copy that can't take part, and what becomes of it. */
export interface LeftOut {
  readonly node: HostPort
  readonly nodeid: number | null
  readonly why: string
  /** What it failed an earlier round with; null: it was known before. */
  readonly ailing: Ailing | null
  /** Groups whose writes it may go on sending to their old primaries, by the rows that it has or may have. */
  readonly sendsAstray: readonly number[]
}

/** For people and `--json`: what happens to one row of the coordinator's copy. */
export interface RowChange {
  readonly group: number
  readonly nodeid: number
  readonly kind:
    | 'primary-moved'
    | 'secondary-moved'
    | 'remedy'
    | 'remedy-ended'
    /** The primary is down, nothing is promoted: reads go to a standby, by the primary's row. */
    | 'degraded'
    | 'degraded-ended'
    /** Another secondary is the one that is read. */
    | 'reads-moved'
    | 'drift-repaired'
    | 'resync'
    | 'registered'
  readonly from: string
  readonly to: string
  readonly why: string
}

/** A standby that the configuration names, and what a row for it is to say. */
export interface ListedStandby {
  readonly group: number
  readonly address: HostPort
  /** `nodecluster`: whose reads it takes. */
  readonly cluster: string
  /** null: Citus's default. */
  readonly rack: string | null
}

/** A row to be added for a standby, by Citus's own function and outside of the coordinated transaction. */
export interface Registration extends ListedStandby {
  /** What the group's primary row says. */
  readonly primary: HostPort
  /** What was seen, for people. */
  readonly why: string
}

/** An old primary that runs on, and who has taken its place. */
export interface OldPrimaryPlan {
  readonly group: number
  readonly node: HostPort
  readonly successor: HostPort
  readonly seen: SeenServer
}

export interface Plan {
  readonly database: string
  /** Groups whose writes have to stand still while it is carried out. */
  readonly fence: readonly number[]
  /** Old primaries that are alive and writable: no participants, but nothing may be written there any more. */
  readonly oldPrimaries: readonly OldPrimaryPlan[]
  readonly changes: readonly RowChange[]
  readonly copies: readonly CopyPlan[]
  /** nodeids to be flagged `metadatasynced = false`, so that Citus's own sync brings their copy up to date. */
  readonly unsynced: readonly number[]
  /** Every copy that takes no part, right or not. */
  readonly leftOut: readonly LeftOut[]
  /** Groups whose primary's row names a standby, once this is carried out. */
  readonly degraded: readonly number[]
  readonly proofs: readonly LineProof[]
  /** The coordinator's own line, which every other copy that takes part writes down; null where it could not be read. */
  readonly leader: LineProof | null
  readonly remedies: readonly Remedy[]
  /** nodeids of remedies that end. */
  readonly remediesEnded: readonly number[]
  /** nodeids of remedies that no row is under any more: forgotten even where nothing else is to be done. */
  readonly remediesStale: readonly number[]
  /** Addresses that this role may not give to a row of the coordinator's copy: then nothing can be done. */
  readonly forbidden: readonly { readonly group: number; readonly address: HostPort }[]
  /** Left for when nothing else is to be done. */
  readonly registrations: readonly Registration[]
  /** The texts of `remarks`. */
  readonly warnings: readonly string[]
  readonly remarks: readonly Remark<WarningCode>[]
}

/** Whether there is anything to commit. Lineage alone is recorded, stale remedies alone are forgotten, without a change. */
export function changesNothing(plan: Plan): boolean {
  return (
    plan.changes.length === 0 &&
    plan.copies.every((copy) => copy.steps.length === 0) &&
    plan.unsynced.length === 0
  )
}
