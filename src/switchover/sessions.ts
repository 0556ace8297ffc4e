import { setTimeout as pause } from 'node:timers/promises'
import { readBlockers } from '../apply/blockers.ts'
import { type Row, runWhole, type SessionLike } from '../db/pg.ts'
import { jsonLiteral, literal } from '../db/sql.ts'
import type { Blocker, ClientTexts } from '../model/blocker.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Move } from './check.ts'
import { TooLate } from './patience.ts'

const ANSWER_MS = 5000
const SHORTEST_MS = 1
const POLL_MS = 10

interface About {
  readonly move: Move
  /** Those that are switched. */
  readonly databases: readonly string[]
  readonly texts: ClientTexts
}

/** What goes into the same message. */
interface Around {
  /** A transaction of one statement, in each database. */
  readonly before?: string | null
  /** For the first database alone. */
  readonly after?: string | null
  /** Gets the rows of `after`. */
  readonly told?: (rows: readonly Row[]) => void
}

/** BEGIN, the statement, COMMIT. */
const STATEMENTS_BEFORE = 3

/** Who is at work on an old primary, in any of its databases, by whatever name. */
export class OldSessions {
  readonly #node: HostPort
  readonly #texts: ClientTexts
  /** One a database that is switched, outside of a transaction. */
  readonly #watches: () => readonly SessionLike[]
  readonly #databases: string

  constructor(about: About, watches: () => readonly SessionLike[]) {
    this.#node = about.move.from.address
    this.#texts = about.texts
    this.#watches = watches
    this.#databases = jsonLiteral(about.databases)
  }

  /** Once before it counts: the first time in a session takes longer. */
  async warmUp(): Promise<void> {
    await this.openSince('-infinity')
    await this.#ask('held_transactions')
    await this.#ask('writing_sessions')
    await this.#ask('other_sessions', this.#databases)
  }

  /**
   * Transactions that have been open there since before a moment of its clock, and statements that have; always what is
   * prepared there, and workers of subscriptions.
   */
  async openSince(since: string, what: 'look' | 'end' = 'look'): Promise<Blocker[]> {
    const verb = what === 'look' ? 'open_transactions' : 'end_open_transactions'
    return await this.#ask(verb, `${literal(since)}::timestamptz`)
  }

  /** As `openSince`, those who wait for our locks there, and clients of other databases, whatever they do. */
  async openOrHeld(since: string): Promise<{ open: Blocker[]; held: Blocker[]; others: Blocker[] }> {
    const [open = [], held = [], others = []] = await this.#askAll([
      `open_transactions(${literal(since)}::timestamptz)`,
      'held_transactions()',
      `other_sessions(${this.#databases})`,
    ])
    return { open, held, others }
  }

  /**
   * Who is writing there just now; and what would go on writing whatever the server is set to. One message a database.
   * @param what `end`: those who are writing are ended, which is not acknowledged then
   * @param note a transaction that comes before it in each; null: none
   * @param and what is run after all of it in the first of the databases; null: nothing
   * @returns with the rows of that
   */
  async writing(
    what: 'look' | 'end',
    note: string | null,
    and: string | null,
  ): Promise<{ writing: Blocker[]; open: Blocker[]; rows: readonly Row[] }> {
    const verb = what === 'look' ? 'writing_sessions()' : 'end_writing_sessions()'
    let rows: readonly Row[] = []
    const [writing = [], open = []] = await this.#askAll(
      [verb, "open_transactions('-infinity'::timestamptz)"],
      {
        before: note,
        after: and,
        told: (after) => {
          rows = after
        },
      },
    )
    return { writing, open, rows }
  }

  /** Ends those who wait for our locks there, and who is writing. @returns who they are */
  async endHeldAndWriting(): Promise<Blocker[]> {
    return (await this.#askAll(['end_held_transactions()', 'end_writing_sessions()'])).flat()
  }

  /** Ends those who wait for our locks there: they would write where nobody looks any more. @returns who they are */
  async endHeld(): Promise<Blocker[]> {
    return await this.#ask('end_held_transactions')
  }

  /**
   * Ends the clients of other databases, or of all: an idle session may have made itself READ WRITE, and where there is no
   * lock of ours nothing would keep it from writing. Whoever comes afterwards comes to a read-only server.
   * @param until `performance.now()`
   * @returns who they are
   * @throws TooLate with who is still there
   */
  async endClients(of: 'other databases' | 'all databases', until: number): Promise<Blocker[]> {
    const spared = of === 'all databases' ? jsonLiteral([]) : this.#databases
    const ended = await this.#ask('end_other_sessions', spared)
    for (let waitMs = SHORTEST_MS; ended.length > 0; waitMs = Math.min(2 * waitMs, POLL_MS)) {
      const there = await this.#ask('other_sessions', spared)
      const left = there.filter(({ pid }) => ended.some((each) => each.pid === pid))
      if (left.length === 0) break
      if (performance.now() >= until)
        throw new TooLate(`${formatAddress(this.#node)}: sessions of ${of} did not end`, left)
      await pause(waitMs)
    }
    return ended
  }

  async #ask(verb: string, argument = ''): Promise<Blocker[]> {
    const [found = []] = await this.#askAll([`${verb}(${argument})`])
    return found
  }

  /**
   * One message a database: it is in its own that the client of a session of Citus is known. A transaction each, since
   * what is seen of the activity stays the same within one.
   */
  async #askAll(calls: readonly string[], { before, after, told }: Around = {}): Promise<Blocker[][]> {
    const asked = calls.map((call) => `BEGIN; SELECT citus_ha.${call} AS found; COMMIT`)
    const watches = this.#watches()
    const isAlone = watches.length === 1
    const answers = await Promise.all(
      watches.map(async (watch) => {
        const sql = [before, ...asked, isAlone ? after : null].filter((each) => each != null).join('; ')
        const results = await runWhole(watch, sql, ANSWER_MS)
        const first = before == null ? 0 : STATEMENTS_BEFORE
        if (isAlone) told?.(results.slice(first + 3 * calls.length).flat())
        return calls.map((_, k) => results[first + 3 * k + 1]?.[0]?.found)
      }),
    )
    const [control] = watches
    // What comes before it in another database is to be over by then.
    if (!isAlone && control && after != null) told?.((await runWhole(control, after, ANSWER_MS)).flat())
    return calls.map((_, k) => this.#distinct(answers.map((found) => found[k])))
  }

  #distinct(answers: readonly unknown[]): Blocker[] {
    const known = new Map<string, Blocker>()
    for (const each of answers.flatMap((found) => readBlockers(this.#node, found, this.#texts))) {
      const key = each.pid === 0 ? `prepared ${each.statement}` : `${each.pid}`
      if (!known.has(key) || each.database === null) known.set(key, each)
    }
    return [...known.values()]
  }
}
