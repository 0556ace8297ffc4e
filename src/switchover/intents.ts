import { openNamed } from '../db/named.ts'
import { runWhole, type SessionLike } from '../db/pg.ts'
import { intArrayLiteral, jsonLiteral, literal, statement } from '../db/sql.ts'
import type { Intent } from '../model/intent.ts'
import type { HostPort } from '../model/node.ts'
import type { Scope } from './scope.ts'

const LIMIT_MS = 5000

interface Notebook {
  session: SessionLike
  readonly open: () => Promise<SessionLike>
  /** A group each. */
  readonly written: Map<number, Intent>
}

/** What is written down before it is done, on the coordinator of each database, so that a later run knows. */
export class Intents {
  readonly #notebooks: readonly Notebook[]
  readonly #run: string

  private constructor(notebooks: readonly Notebook[], run: string) {
    this.#notebooks = notebooks
    this.#run = run
  }

  /**
   * @param run of whom they are: no other's are touched
   * @param at where it is written; null: on the coordinator as it was checked
   * @throws what the driver or the server says, after closing what was opened
   */
  static async open(scopes: readonly Scope[], run: string, at: HostPort | null = null): Promise<Intents> {
    const notebooks: Notebook[] = []
    const intents = new Intents(notebooks, run)
    try {
      for (const { access, request, checked } of scopes) {
        const [coordinator] = checked.entries.entries
        if (!coordinator) throw new Error('a switchover needs the coordinator')
        const open = () => openNamed(access, at ?? coordinator.node, request.database)
        const session = await open()
        notebooks.push({ session, open, written: new Map() })
        await runWhole(session, `${LOCALLY}; ${WARM_UP}`, LIMIT_MS)
      }
      return intents
    } catch (error) {
      await intents.close()
      throw error
    }
  }

  /** @param n in which database; default: in each */
  async write(intents: readonly Intent[], n?: number): Promise<void> {
    const notebooks = this.#notebooks.filter((_, of) => n === undefined || of === n)
    await Promise.all(
      notebooks.map(async (notebook) => {
        await inTransaction(notebook, intendSql(intents))
        for (const intent of intents) notebook.written.set(intent.group, intent)
      }),
    )
  }

  /** What is to be read now in the n-th database. */
  in(n: number): Intent[] {
    return [...(this.#notebooks[n]?.written.values() ?? [])]
  }

  /** Of the n-th database. */
  session(n: number): SessionLike | undefined {
    return this.#notebooks[n]?.session
  }

  async forget(groups: readonly number[]): Promise<void> {
    const sql = `SELECT citus_ha.forget_intents(${intArrayLiteral(groups)}, ${literal(this.#run)})`
    await Promise.all(
      this.#notebooks.map(async (notebook) => {
        await inTransaction(notebook, sql)
        for (const group of groups) notebook.written.delete(group)
      }),
    )
  }

  async close(): Promise<void> {
    await Promise.all(this.#notebooks.map(({ session }) => session.close()))
  }
}

export function intendSql(intents: readonly Intent[]): string {
  return `SELECT citus_ha.intend(${jsonLiteral(intents)})`
}

/** Once before it counts: the first time in a session takes longer. Nothing is written with it. */
export const WARM_UP = inOne(`\n${statement('switchover/unchanged')}; ${intendSql([])}`)

const LOCALLY = 'SET synchronous_commit = local'

/**
 * The coordinator itself may be the old primary, read-only by default by now. What is written may be written twice: where the session
 * is lost it is done on a new one.
 * @throws the server's error
 */
async function inTransaction(notebook: Notebook, sql: string): Promise<void> {
  try {
    await runWhole(notebook.session, inOne(sql), LIMIT_MS)
  } catch (error) {
    if (notebook.session.alive) throw error
    notebook.session = await notebook.open()
    await runWhole(notebook.session, `${LOCALLY}; ${inOne(sql)}`, LIMIT_MS)
  }
}

function inOne(sql: string): string {
  return `BEGIN READ WRITE; ${sql}; COMMIT`
}
