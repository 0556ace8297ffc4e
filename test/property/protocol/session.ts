import { type Row, type SessionLike, SessionLost } from '../../../src/db/pg.ts'
import { formatAddress, type HostPort } from '../../../src/model/node.ts'
import { Backend } from './backend.ts'
import { ServerError } from './copy.ts'
import type { Instance } from './network.ts'
import type { Server } from './server.ts'
import type { World } from './world.ts'

/** How long a connection may take to come about. */
const CONNECT_MS = 600

interface Sending {
  readonly resolve: (results: Row[][]) => void
  readonly reject: (error: unknown) => void
  readonly settle: (answer: () => void) => void
}

/** A connection of an instance, from the client's side: what `Session` of src/db/pg.ts does. */
export class Session implements SessionLike {
  readonly #world: World
  readonly #instance: Instance
  readonly #address: HostPort
  #backend: Backend | null = null
  #lost: SessionLost | null = null
  #last: Promise<unknown> = Promise.resolve()
  #told: ((error: Error) => void) | null = null
  readonly #cuts = new Set<(error: SessionLost) => void>()

  constructor(world: World, instance: Instance, address: HostPort) {
    this.#world = world
    this.#instance = instance
    this.#address = address
  }

  get pid(): number {
    return this.#backend?.pid ?? 0
  }

  get alive(): boolean {
    return this.#lost === null
  }

  onLost(told: (error: Error) => void): void {
    this.#told = told
  }

  async connect(): Promise<void> {
    await this.#exchange(CONNECT_MS, async (server) => {
      this.#backend = new Backend(
        this.#world,
        server,
        () => this.#serverEnds(),
        'citus-ha',
        null,
        this.#instance.name,
      )
      this.#instance.sessions.add(this)
      return []
    })
  }

  async run(sql: string, limitMs: number): Promise<Row[][]> {
    if (this.#lost) throw this.#lost
    return await this.#exchange(limitMs, async () => await (this.#backend as Backend).execute(sql), sql)
  }

  /** One message after the other; the limit counts from the call. */
  #exchange(limitMs: number, work: (server: Server) => Promise<Row[][]>, sql = 'connect'): Promise<Row[][]> {
    const before = this.#last
    const exchange = new Promise<Row[][]>((resolve, reject) => {
      const limit = this.#world.clock.after(limitMs, this.#instance, () =>
        this.#lose(`no answer in ${limitMs} ms`, 'SESSION_TIMEOUT'),
      )
      const cut = (error: SessionLost) => {
        limit.work = null
        reject(error)
      }
      this.#cuts.add(cut)
      const settle = (answer: () => void) => {
        limit.work = null
        this.#cuts.delete(cut)
        answer()
      }
      const send = () => {
        if (!this.#lost) this.#send(sql, work, { resolve, reject, settle })
      }
      void before.then(send)
    })
    this.#last = exchange.catch(() => undefined)
    return exchange
  }

  /** There and back, through whatever happens to it on the way. */
  #send(sql: string, work: (server: Server) => Promise<Row[][]>, { resolve, reject, settle }: Sending): void {
    const { clock } = this.#world
    const instance = this.#instance
    const fate = this.#world.message(sql, instance, this.#address.host)
    const back = (ms: number, answer: () => void) =>
      clock.after(ms, instance, () => {
        if (!this.#lost && this.#routed()) settle(answer)
      })
    if (fate.request === 'breaks the connection') {
      this.#break()
      return
    }
    if (fate.request === 'is lost') return
    clock.after(this.#world.latency() + fate.requestLateMs, null, () => {
      if (!this.#routed() || (instance.state === 'dead' && sql === 'connect')) return
      const server = this.#world.server(this.#address.host)
      if (!server?.up || this.#backend?.dead) {
        clock.after(this.#world.latency(), instance, () => this.#lose('connection refused', 'ECONNREFUSED'))
        return
      }
      const answered = (answer: () => void) => {
        if (fate.answer === 'breaks the connection') clock.after(0, instance, () => this.#break())
        else if (fate.answer === 'arrives') back(this.#world.latency() + fate.answerLateMs, answer)
      }
      work(server).then(
        (results) => answered(() => resolve(results)),
        (error: unknown) => {
          if (!(error instanceof ServerError)) this.#world.fail(error)
          answered(() => reject(error))
        },
      )
    })
  }

  #routed(): boolean {
    return this.#world.connects(this.#instance.name, this.#address.host)
  }

  async close(): Promise<void> {
    if (this.#lost) return
    this.#lose('closed', 'CLOSED')
  }

  abandon(): void {
    this.#tellServer()
  }

  #break(): void {
    this.#lose('connection reset', 'ECONNRESET')
  }

  #serverEnds(): void {
    this.#world.clock.after(this.#world.latency(), this.#instance, () => {
      if (this.#routed()) this.#lose('terminating connection', '57P01')
    })
  }

  #lose(message: string, code: string): SessionLost {
    this.#instance.sessions.delete(this)
    if (this.#lost) return this.#lost
    this.#lost = new SessionLost(`${formatAddress(this.#address)}: ${message}`, code)
    if (this.#cuts.size === 0 && code !== 'CLOSED') this.#told?.(this.#lost)
    for (const cut of this.#cuts) cut(this.#lost)
    this.#cuts.clear()
    this.#tellServer()
    return this.#lost
  }

  /** The server hears of the end once there is a way to it: TCP sends it again. */
  #tellServer(): void {
    const backend = this.#backend
    const tell = (afterMs: number) =>
      this.#world.clock.after(afterMs, null, () => {
        if (this.#routed()) backend?.hangUp()
        else tell(1000)
      })
    if (backend && !backend.dead) tell(this.#world.latency())
  }
}
