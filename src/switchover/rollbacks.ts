import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import { openNamed } from '../db/named.ts'
import { statement } from '../db/sql.ts'
import type { Move } from './check.ts'
import type { Scope } from './scope.ts'

const LIMIT_MS = 5000
/** Sessions report what they did a second later at most (`PGSTAT_MIN_INTERVAL`), those that are busy. */
const REPORTED_MS = 1100
const row = z.object({ rolled_back: z.number() })

/** Counts the transactions that entry nodes roll back while something is done: what failed for clients, and a little more. */
export class Rollbacks {
  readonly #scopes: readonly Scope[]
  readonly #moves: readonly Move[]
  readonly #before: number

  private constructor(scopes: readonly Scope[], moves: readonly Move[], before: number) {
    this.#scopes = scopes
    this.#moves = moves
    this.#before = before
  }

  /** @throws what the driver or a server says */
  static async begin(scopes: readonly Scope[], moves: readonly Move[]): Promise<Rollbacks> {
    return new Rollbacks(scopes, moves, await total(scopes, moves))
  }

  /** @throws what the driver or a server says */
  async end(): Promise<number> {
    await pause(REPORTED_MS)
    return (await total(this.#scopes, this.#moves)) - this.#before
  }
}

async function total(scopes: readonly Scope[], moves: readonly Move[]): Promise<number> {
  const gone = moves.map(({ from }) => from.instance)
  const counts = scopes.flatMap(({ access, request, checked }) =>
    checked.entries.entries
      .filter(({ server }) => !gone.includes(server.instance))
      .map(async ({ node }) => {
        const session = await openNamed(access, node, request.database)
        try {
          const [rows] = await session.run(statement('switchover/rollbacks'), LIMIT_MS)
          return row.parse(rows?.[0]).rolled_back
        } finally {
          await session.close()
        }
      }),
  )
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0)
}
