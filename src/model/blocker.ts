import type { HostPort } from './node.ts'

/**
 * Whether texts of clients (statements, names of prepared transactions) are taken over from servers at all. They may hold
 * anything: card numbers, passwords. What was not taken over can't get into a log, a notice or an answer.
 */
export type ClientTexts = 'shown' | 'withheld'

/** A session, or a prepared transaction (pid 0), that keeps a change from a lock. */
export interface Blocker {
  /** Where it runs. */
  readonly node: HostPort
  readonly pid: number
  /** Where it is another one than that which was asked. */
  readonly database: string | null
  readonly user: string | null
  readonly application: string | null
  readonly state: string | null
  /** Of its transaction, in milliseconds. */
  readonly ageMs: number | null
  /** null where texts of clients are withheld, too. */
  readonly statement: string | null
  /** Of a session that Citus opened for a client of another node: that node and the client's pid there. */
  readonly client: { readonly node: string; readonly pid: number } | null
  /** Another change of citus-ha: waited for, never ended. */
  readonly ours: boolean
}
