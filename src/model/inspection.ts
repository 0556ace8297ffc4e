import type { Manager } from './manager.ts'
import type { HostPort } from './node.ts'
import type { Answered } from './observation.ts'

/** What was read, or why it could not be: not having looked is no finding, and no all-clear either. */
export type Look<T> =
  | { readonly kind: 'seen'; readonly value: T }
  | { readonly kind: 'unseen'; readonly why: string }

/** A row of `pg_settings`, as a session of this role in this database gets it. */
export interface Setting {
  /** In the setting's own unit: milliseconds for time limits. */
  readonly value: string
  /** Such as `user` (of the role), `database`, `configuration file`, `default`. */
  readonly source: string
}

export interface SessionSettings {
  /** As whom the session runs. */
  readonly role: string
  /** Version of the extension in this database, such as `13.2-1`; null without Citus. */
  readonly extension: string | null
  /** Whether `pg_dist_poolinfo` is there. */
  readonly hasPools: boolean
  readonly settings: Readonly<Record<string, Setting>>
}

/** How far a server's clock is from ours, in milliseconds, and how exactly that is known. */
export interface ClockOffset {
  readonly offsetMs: number
  readonly withinMs: number
}

export interface PreparedTransaction {
  readonly gid: string
  readonly owner: string
  /** By its owner: a superuser, or a role that may change rows through citus-ha. */
  readonly mayBeOurs: boolean
  /** By the node's own clock, in milliseconds. */
  readonly ageMs: number
  /** Of the locks it holds those that a change of the metadata needs: `pg_dist_node`, `shard metadata`. */
  readonly locks: readonly string[]
}

export interface Prepared {
  /** Slots of `max_prepared_transactions` in use, in all databases. */
  readonly inUse: number
  /** Those of this database. */
  readonly transactions: readonly PreparedTransaction[]
}

/** A physical standby attached to a server, by `pg_stat_replication`. */
export interface AttachedStandby {
  readonly applicationName: string
  readonly clientHost: string | null
}

/** A row of `pg_replication_slots`, of any database. */
export interface ReplicationSlot {
  readonly name: string
  readonly type: 'physical' | 'logical'
  /** null: a physical one. */
  readonly database: string | null
  readonly active: boolean
  /** Gone with the session that made it. */
  readonly temporary: boolean
  /** PostgreSQL 17: kept on the standbys too; false before. */
  readonly failover: boolean
  /** As that: it came from the primary. */
  readonly synced: boolean
  /** Bytes of WAL; null where nothing is kept for it. */
  readonly unread: number | null
  /** Its name and where it comes from; null or empty where there is none, or it says none. */
  readonly consumer: string | null
}

/** A background process of Citus in this database. */
export interface Daemon {
  readonly name: string
  readonly pid: number
  /** Age of the transaction it is in, in milliseconds; null where it is in none. */
  readonly busyMs: number | null
}

/** A row of `pg_dist_poolinfo`; what it does not say is null. */
export interface PoolRow {
  readonly nodeid: number
  readonly host: string | null
  readonly port: number | null
}

/** Whether a node, asked through Citus, reaches another by the name in its row. */
export interface Reach {
  readonly to: HostPort
  readonly reaches: Look<boolean>
  /** What Citus said when it did not, for people; null where it said nothing. */
  readonly says: string | null
}

/** As GRANT names them. */
export interface SwitchoverRights {
  readonly granted: readonly string[]
  readonly missing: readonly string[]
}

/** What a closer look at one server saw, beside the survey. Plain data, like the survey. */
export interface Inspection {
  readonly node: Answered
  readonly session: Look<SessionSettings>
  readonly clock: Look<ClockOffset>
  readonly prepared: Look<Prepared>
  readonly attached: Look<readonly AttachedStandby[]>
  /** Programs that decide whether it is a primary. */
  readonly managers: Look<readonly Manager[]>
  readonly daemons: Look<readonly Daemon[]>
  readonly slots: Look<readonly ReplicationSlot[]>
  /** Functions of the schema `citus_ha` that this role may not execute; empty where the schema can't be used at all. */
  readonly missingRights: Look<readonly string[]>
  /** Of what `install --switchover` grants; both empty before PostgreSQL 15. */
  readonly switchoverRights: Look<SwitchoverRights>
  readonly pools: Look<readonly PoolRow[]>
  readonly reaches: readonly Reach[]
}
