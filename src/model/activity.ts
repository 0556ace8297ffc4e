/** A session of citus-ha on the coordinator that watches, changes something or holds a fence. */
export interface ActiveSession {
  /** Of the coordinator's backend. */
  readonly pid: number
  readonly user: string
  /** The address it comes from; null: a local one. */
  readonly client: string | null
  /** The machine as it calls itself; null: it does not say. */
  readonly host: string | null
  /** ISO 8601: a leader leads since then, as far as it says so; any other is at it since then. */
  readonly since: string | null
}

/** Writes to these groups wait; none is named where that can't be seen. */
export interface SeenFence extends ActiveSession {
  readonly groups: readonly number[]
}

/** A session of another program that writes `pg_dist_node`, by what it calls itself. */
export interface OtherWriter extends ActiveSession {
  /** Such as `Patroni`: its Citus mode, the section `citus` of its configuration. */
  readonly program: string
}

/** Who is at work in one database, by the sessions and locks of its coordinator. */
export interface Activity {
  /** The leader first; null: the role sees its own sessions only, and not who else is there. */
  readonly watchers: readonly ActiveSession[] | null
  readonly leader: ActiveSession | null
  /** A change, a switchover or a recovery. */
  readonly changes: readonly ActiveSession[]
  readonly fences: readonly SeenFence[]
  /** Whoever keeps a session open on the coordinator for it; other tools come and go. */
  readonly otherWriters: readonly OtherWriter[]
}

/** What a watcher says of itself in the text of its statements: the one thing that others see of an open transaction. */
export function watcherComment(host: string, leadsSince: Date | null): string {
  const lead = leadsSince === null ? '' : `, leads since ${leadsSince.toISOString()}`
  return `/* citus-ha watch, host ${host.replace(/[^\w.-]/g, '_').slice(0, 64)}${lead} */`
}

const SAID = /\/\* citus-ha watch, host ([\w.-]+)(?:, leads since ([\dTZ:.-]+))? \*\/$/

/** @returns null for what is no such comment */
export function readWatcherComment(statement: string): { host: string; leadsSince: string | null } | null {
  const [, host, leadsSince = null] = SAID.exec(statement) ?? []
  return host === undefined ? null : { host, leadsSince }
}

/** Such as `w1.example (backend 4711)`: where it runs, and what it is to the coordinator. */
export function describeSession({ host, client, pid }: ActiveSession): string {
  return `${host ?? client ?? 'a local client'} (backend ${pid})`
}
