import type { HostPort } from './node.ts'

/** A session, or a prepared transaction (pid 0), that keeps a change from a lock. */
export interface Blocker {
  /** Where it runs. */
  readonly node: HostPort
  readonly pid: number
  readonly user: string | null
  readonly application: string | null
  readonly state: string | null
  /** Of its transaction, in milliseconds. */
  readonly ageMs: number | null
  readonly statement: string | null
  /** Of a session that Citus opened for a client of another node: that node and the client's pid there. */
  readonly client: { readonly node: string; readonly pid: number } | null
  /** Another change of citus-ha: waited for, never ended. */
  readonly ours: boolean
}
