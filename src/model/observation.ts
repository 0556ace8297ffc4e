import type { Catalog } from './catalog.ts'
import type { Intent } from './intent.ts'
import type { HostPort } from './node.ts'
import type { Pause } from './pause.ts'
import type { Proof, Sight } from './sight.ts'

/** Why a node gave no answer at all; `SIGHTS` says what each proves. It may be our network. */
export type UnreachableCause = 'refused' | 'reset' | 'timeout' | 'unroutable' | 'dns'

/** Why a node that is alive, since it spoke to us, could not be read. */
export type UnreadableCause =
  | 'auth'
  | 'tls'
  | 'starting'
  | 'too-many-connections'
  | 'no-database'
  | 'privilege'
  | 'error'

/** `pg_stat_get_wal_receiver()` of a standby. */
export interface WalReceiver {
  readonly status: string
  /** Where it streams from; null where PostgreSQL does not say. */
  readonly sender: HostPort | null
  /** Age of the last message by the standby's own clock, in milliseconds; null before the first. */
  readonly heardMsAgo: number | null
  readonly timeline: number | null
}

/** One row of `pg_stat_replication`: a standby attached to this node. */
export interface WalSender {
  readonly applicationName: string
  readonly clientHost: string | null
  readonly state: string
  readonly syncState: string
}

/** A parent timeline and the WAL position at which it was left, from the timeline's history file. */
export interface TimelineSwitch {
  readonly timeline: number
  readonly lsn: string
}

/** What the schema `citus_ha` on a node says; empty with `mayExecute` false where the role may not use it. */
export interface Installed {
  /** Highest migration applied. */
  readonly migration: number
  readonly epoch: { readonly timeline: number; readonly epoch: number }
  readonly mayExecute: boolean
  readonly lineage: readonly Lineage[]
  readonly positions: readonly Position[]
  readonly remedies: readonly Remedy[]
  /** It holds records of Citus's for groups that are degraded, or were a short while ago. */
  readonly keepsTransactions: boolean
  /** The whole cluster's first; the coordinator's are those that count. */
  readonly pauses: readonly Pause[]
  /** What switchovers are doing, or have left behind; the coordinator's are those that count. */
  readonly intents: readonly Intent[]
  /** Addresses a row of the group may be given though no row has them. */
  readonly spareAddresses: readonly { readonly group: number; readonly address: HostPort }[]
  /** Functions that are not as in this program, and what is wrong with each. */
  readonly drift: readonly string[]
}

/** The line of primaries a group is known to have (`citus_ha.lineage`). */
export interface Lineage {
  readonly group: number
  readonly systemIdentifier: string
  readonly timeline: number
  readonly history: readonly TimelineSwitch[]
}

/** What is to be written down of a line. */
export interface LineProof extends Lineage {
  /** By a person: it may be another line than the one on record. */
  readonly vouched?: true
}

/** How far a server of a group was known to be, when that was last written down with the group's line: a lower bound. */
export interface Position {
  readonly group: number
  readonly address: HostPort
  /** It was a standby, and had applied the WAL up to there; else it had written it. */
  readonly inRecovery: boolean
  readonly timeline: number
  /** In bytes. */
  readonly lsn: bigint
  /** By the clock of the server that has it on record, in milliseconds. */
  readonly ageMs: number
}

/**
 * A row altered only to keep reads working, with what it was (`citus_ha.remedy`): a secondary's, whose node is down, or a
 * primary's, whose node is down and nothing is promoted.
 */
export interface Remedy {
  readonly nodeid: number
  readonly group: number
  readonly address: HostPort
  readonly rack: string
  readonly isactive: boolean
  /** The address that the row was given; its own, where it was set inactive. */
  readonly given: HostPort
}

/** A node that answered, with all that one survey read from it. */
export interface Answered {
  readonly kind: 'answered'
  readonly address: HostPort
  /** Equal for two addresses exactly if the same running server is behind both. */
  readonly instance: string
  /** When it last read its configuration, by its own clock; as text, to be compared. */
  readonly configured: string
  readonly serverVersion: number
  readonly inRecovery: boolean
  /** Takes no writes unless a session insists (`default_transaction_read_only`): an old primary after a switchover. */
  readonly readOnly: boolean
  /** An old primary that a change or a switchover has taken out of its group: its Citus is of no group any more. */
  readonly retired: boolean
  readonly systemIdentifier: string
  /** null where the role may not know (a standby without a receiver, no right to the control file). */
  readonly timeline: number | null
  /** null where it could not be read: then nothing follows from it. */
  readonly history: readonly TimelineSwitch[] | null
  /** Flush position of a primary, replay position of a standby, in bytes. */
  readonly lsn: bigint | null
  /** End of the WAL that a standby has received, applied or not; null on a primary, or if none was received since its start. */
  readonly receivedLsn: bigint | null
  /** When the last transaction that it replayed was committed, by its primary's clock; null: none since its start. Opaque. */
  readonly lastCommit: string | null
  readonly receiver: WalReceiver | null
  readonly senders: readonly WalSender[]
  /** `synchronous_standby_names`; '' where commits wait for no standby (`synchronous_commit` off or local). */
  readonly synchronousNames: string
  /** null on a server without Citus in this database. */
  readonly citus: {
    readonly version: string
    /** Of a retired server, what it was. */
    readonly localGroup: number
    readonly catalog: Catalog
    readonly useSecondaryNodes: 'never' | 'always'
    readonly clusterName: string
  } | null
  /** The schema `citus_ha`; null where it is missing, or `untrusted`. */
  readonly installed: Installed | null
  /** Why a schema of that name is not ours, a line each: nothing in it is read or called then. */
  readonly untrusted: readonly string[]
  readonly superuser: boolean
  /** Has `pg_read_all_stats`; without it a standby's receiver and a primary's senders look absent. */
  readonly readsStatistics: boolean
  /** gids of prepared transactions in this database that are named like citus-ha's, by a role that may be citus-ha's. */
  readonly prepared: readonly string[]
  /** Those that are named like it, by anybody else: never taken for a change, and never resolved. */
  readonly lookalikes: readonly { readonly gid: string; readonly owner: string }[]
  /** Age of the oldest of `prepared` by the node's own clock, in milliseconds; null where there is none. */
  readonly oldestPreparedMs: number | null
  /** The databases of this server that may be connected to, but PostgreSQL’s own templates. */
  readonly databases: readonly string[]
  /** Databases in which Citus's daemon runs, those that may not be connected to as well. */
  readonly citusDatabases: readonly string[]
  /** Whether the connection that answered was encrypted. */
  readonly encrypted: boolean
  readonly latencyMs: number
}

export interface Unreachable {
  readonly kind: 'unreachable'
  readonly address: HostPort
  readonly cause: UnreachableCause
  readonly detail: string
}

export interface Unreadable {
  readonly kind: 'unreadable'
  readonly address: HostPort
  readonly cause: UnreadableCause
  readonly detail: string
}

export type Observation = Answered | Unreachable | Unreadable

/** Whether a server that can't be read now is to be asked again: it is coming up, or others have taken its connections. */
export function willPass(node: Observation): boolean {
  return node.kind === 'unreadable' && (node.cause === 'starting' || node.cause === 'too-many-connections')
}

/** What a node, asked through Citus or by its WAL receiver, says of another one. */
export interface Testimony {
  readonly witness: HostPort
  readonly about: HostPort
  readonly saw: Sight
  /** What that proves. */
  readonly says: Proof
  readonly how: 'citus_check_connection_to_node' | 'wal-receiver'
  readonly detail: string
  /** What it saw of a server that lives, where it was asked. */
  readonly control: Sight | null
}

/** Everything one survey of one database saw. Plain data: diagnosing it needs no clock and no network. */
export interface Survey {
  readonly database: string
  /** ISO 8601, when the survey was complete. */
  readonly at: string
  /** One for each address asked, in a stable order. */
  readonly nodes: readonly Observation[]
  readonly testimony: readonly Testimony[]
}
