import { readBlockers } from '../apply/blockers.ts'
import { openNamed } from '../db/named.ts'
import type { SessionLike } from '../db/pg.ts'
import type { Blocker } from '../model/blocker.ts'
import { formatAddress } from '../model/node.ts'
import type { Scope } from './scope.ts'

const ANSWER_MS = 2000

/** A client of an entry node: `host:port pid`. */
export type Client = string

export function clientOf({ client }: Blocker): Client | null {
  return client && `${client.node} ${client.pid}`
}

interface Lookout {
  readonly node: string
  readonly session: SessionLike
}

/** Sees, where writes enter, whose clients wait for the fence. Outside of its transactions, which always see the same. */
export class Lookouts {
  readonly #scopes: readonly Scope[]
  /** Opened once, whoever asks first. */
  #sessions: Promise<readonly Lookout[]> | null = null

  constructor(scopes: readonly Scope[]) {
    this.#scopes = scopes
  }

  /** @throws what the driver or a server says */
  async waiting(): Promise<ReadonlySet<Client>> {
    this.#sessions ??= this.#open()
    const sessions = await this.#sessions
    const sql = 'SELECT citus_ha.held_transactions() AS held'
    const found = await Promise.all(
      sessions.map(async ({ node, session }) => {
        const [rows] = await session.run(sql, ANSWER_MS)
        return readBlockers({ host: node, port: 0 }, rows?.[0]?.held, 'withheld').map(
          ({ pid }) => `${node} ${pid}`,
        )
      }),
    )
    return new Set(found.flat())
  }

  /** Never throws. */
  async #open(): Promise<readonly Lookout[]> {
    const results = await Promise.allSettled(
      this.#scopes.flatMap(({ access, request, checked }) =>
        checked.entries.entries.map(async ({ node }) => {
          return { node: formatAddress(node), session: await openNamed(access, node, request.database) }
        }),
      ),
    )
    // Where one can't be had, the others' clients are seen all the same.
    return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  }

  /** Never throws. */
  async close(): Promise<void> {
    const sessions = (await this.#sessions) ?? []
    await Promise.all(sessions.map(({ session }) => session.close()))
    this.#sessions = null
  }
}
