import type { HostPort } from '../model/node.ts'

/** What a switchover is asked to do. Times in milliseconds. */
export interface SwitchoverOrder {
  /** Groups whose primary changes; with `host` instead: all whose primary is on that machine. */
  readonly groups: readonly number[]
  readonly host: string | null
  /** null: the standby that is closest. Only with a single group. */
  readonly to: HostPort | null
  /** null: `pg_promote()`. */
  readonly promoteCommand: string | null
  /** What stops an old primary, once every copy is proved; null: it is left read-only. */
  readonly demoteCommand: string | null
  /** When that command runs. */
  readonly demote: 'last' | 'first'
  /** Run for each group after the rest was undone. */
  readonly undoCommand: string | null
  /** The longest that writes may stand still. */
  readonly totalLimitMs: number
  /** Bytes of WAL that the target may be behind when it begins. */
  readonly maxLag: number
  readonly unreachable: 'refuse' | 'allow'
  /** Of logical replication slots that the new primary does not have, with what is unread in them. */
  readonly slotLoss: 'refuse' | 'allow'
  readonly mode: 'apply' | 'dry-run'
  /** Shown the plan, a line each, before anything is touched. @returns whether to go on */
  readonly confirm: (lines: readonly string[]) => Promise<boolean>
}
