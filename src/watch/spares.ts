import { type ChangeLimits, readyForChange, warmUp } from '../apply/participants.ts'
import type { SessionLike } from '../db/pg.ts'
import type { Blocker, ClientTexts } from '../model/blocker.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import type { Plan } from '../model/plan.ts'
import { distinctServers } from '../model/servers.ts'
import type { Prober } from '../observe/prober.ts'
import type { Access } from '../walk/access.ts'
import type { View } from '../walk/look.ts'

interface Spare {
  readonly ready: Promise<SessionLike | null>
  /** Once it is ready. */
  session: SessionLike | null
}

/**
 * An `Access` that has one session to each node open and warm before it is asked for: a change begins at once. For one
 * database.
 */
export class SpareSessions implements Access {
  readonly migration: number
  readonly clientTexts: ClientTexts
  readonly #access: Access
  readonly #database: string
  readonly #timeoutMs: number
  readonly #spares = new Map<string, Spare>()

  constructor(access: Access, database: string, timeoutMs: number) {
    this.#access = access
    this.#database = database
    this.#timeoutMs = timeoutMs
    this.migration = access.migration
    this.clientTexts = access.clientTexts
  }

  prober(database: string): Prober {
    return this.#access.prober(database)
  }

  async blockers(node: HostPort, database: string, pid: number, what: 'ask' | 'end'): Promise<Blocker[]> {
    return await this.#access.blockers(node, database, pid, what)
  }

  /** The spare session, if one is there and lives; else a new one. */
  async open(address: HostPort, database: string): Promise<SessionLike> {
    const key = formatAddress(address)
    const spare = database === this.#database ? this.#spares.get(key) : undefined
    this.#spares.delete(key)
    const session = (await spare?.ready) ?? null
    if (session?.alive) return session
    return await this.#access.open(address, database)
  }

  /** Keeps a spare session to each of these nodes and to no others; one that broke is replaced. Does not wait for any. */
  keep(addresses: readonly HostPort[]): void {
    const wanted = new Map(addresses.map((address) => [formatAddress(address), address]))
    for (const [key, spare] of this.#spares)
      if (!wanted.has(key) || spare.session?.alive === false) this.#drop(key, spare)
    for (const [key, address] of wanted) if (!this.#spares.has(key)) this.#begin(key, address)
  }

  /** The spare sessions of those who take part in a plan are made ready for it, beside whatever else is done before it begins. */
  ready({ copies, oldPrimaries }: Pick<Plan, 'copies' | 'oldPrimaries'>, limits: ChangeLimits): void {
    const parts = [...copies, ...oldPrimaries.map(({ node }) => ({ node, role: 'old primary' as const }))]
    for (const { node, role } of parts) {
      const spare = this.#spares.get(formatAddress(node))
      if (!spare?.session) continue
      const session = spare.session
      const readied = readyForChange(session, role, limits).then(
        () => session,
        // Whoever is to have it opens another one.
        async () => {
          await session.close()
          return null
        },
      )
      this.#put(formatAddress(node), readied)
    }
  }

  /** Waits until those that are kept are open and warm, or can't be had. */
  async settled(): Promise<void> {
    await Promise.all([...this.#spares.values()].map(({ ready }) => ready))
  }

  /** Closes the spare sessions; the rest is the owner's. */
  async close(): Promise<void> {
    const spares = [...this.#spares.values()]
    this.#spares.clear()
    await Promise.all(spares.map(async ({ ready }) => await (await ready)?.close()))
  }

  #begin(key: string, address: HostPort): void {
    this.#put(key, this.#warm(address))
  }

  #put(key: string, ready: Spare['ready']): void {
    const spare: Spare = { ready, session: null }
    this.#spares.set(key, spare)
    void spare.ready.then((session) => {
      spare.session = session
      if (session === null && this.#spares.get(key) === spare) this.#spares.delete(key)
    })
  }

  /** One that can't be had is no loss: the next survey tries again, and a change opens its own. */
  async #warm(address: HostPort): Promise<SessionLike | null> {
    let session: SessionLike | null = null
    try {
      session = await this.#access.open(address, this.#database)
      await warmUp(session, this.#timeoutMs)
      return session
    } catch {
      await session?.close()
      return null
    }
  }

  #drop(key: string, { ready }: Spare): void {
    this.#spares.delete(key)
    void ready.then((session) => session?.close())
  }
}

/** Whose copy a change may write, now or after a promotion; each server once. */
export function participantsOf({ survey, diagnoses }: View): HostPort[] {
  // Of two names of a server the one that a plan has.
  const proved = diagnoses.flatMap(({ primary }) => primary ?? [])
  const able = [...proved, ...survey.nodes]
    .filter((node): node is Answered => node.kind === 'answered' && node.citus !== null)
    .filter((node) => node.installed?.mayExecute)
  return distinctServers(able).map((node) => node.address)
}
