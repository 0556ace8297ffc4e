import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  type AddressInfo,
  createServer,
  connect as dial,
  type Server as Listener,
  type Socket,
} from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress, type HostPort } from '../../src/model/node.ts'

async function listen(
  onConnection: (socket: Socket) => void,
  { host, port }: HostPort = { host: '127.0.0.1', port: 0 },
): Promise<Listener> {
  const listener = createServer(onConnection).listen(port, host)
  await once(listener, 'listening')
  return listener
}

async function shut(listener: Listener, sockets: ReadonlySet<Socket>): Promise<void> {
  for (const socket of sockets) socket.destroy()
  listener.close()
  await once(listener, 'close')
}

/** An address that takes connections and never says anything. */
export class BlackHole {
  readonly address: string
  readonly #listener: Listener
  readonly #sockets: ReadonlySet<Socket>

  private constructor(listener: Listener, sockets: ReadonlySet<Socket>) {
    this.#listener = listener
    this.#sockets = sockets
    this.address = `127.0.0.1:${(listener.address() as AddressInfo).port}`
  }

  static async open(): Promise<BlackHole> {
    const sockets = new Set<Socket>()
    const listener = await listen((socket) => {
      socket.on('error', () => undefined)
      sockets.add(socket)
    })
    return new BlackHole(listener, sockets)
  }

  async close(): Promise<void> {
    await shut(this.#listener, this.#sockets)
  }
}

const SYN_HOLE = fileURLToPath(new URL('./syn-hole.mjs', import.meta.url))

/** An address that takes no connection and refuses none: every packet to it is dropped. Of Linux. */
export class SynHole {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /** @throws Error where somebody listens there */
  static async at({ host, port }: HostPort): Promise<SynHole> {
    const stdio: StdioOptions = ['ignore', 'pipe', 'inherit']
    const child = spawn(process.execPath, [SYN_HOLE, host, String(port)], { stdio })
    const ended = once(child, 'exit').then(() => Promise.reject(new Error(`no hole at ${host}:${port}`)))
    ended.catch(() => undefined)
    if (child.stdout) await Promise.race([once(child.stdout, 'data'), ended])
    return new SynHole(child)
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }
}

/** What becomes of a message: lost before the server gets it; answered unheard; answered into a silence that stays. */
export type Cut = 'request lost' | 'answer lost' | 'answer withheld'

/** A way to a server that breaks at a message of a client that holds a certain text: once, or so many times. */
export class CutProxy {
  readonly address: string
  readonly #listener: Listener
  readonly #sockets: ReadonlySet<Socket>
  readonly #times: number
  #cuts = 0

  private constructor(listener: Listener, sockets: ReadonlySet<Socket>, times: number) {
    this.#listener = listener
    this.#sockets = sockets
    this.#times = times
    this.address = `127.0.0.1:${(listener.address() as AddressInfo).port}`
  }

  /** How many connections were cut. */
  get cuts(): number {
    return this.#cuts
  }

  static async to(server: Server, at: RegExp, cut: Cut, times = 1): Promise<CutProxy> {
    const sockets = new Set<Socket>()
    const listener = await listen((socket) => {
      const upstream = dial(server.port, server.host)
      for (const each of [socket, upstream]) each.on('error', () => undefined)
      sockets.add(socket).add(upstream)
      proxy.#join(socket, upstream, at, cut)
    })
    const proxy = new CutProxy(listener, sockets, times)
    return proxy
  }

  #join(socket: Socket, upstream: Socket, at: RegExp, cut: Cut): void {
    let deaf = false
    socket.on('data', (data) => {
      if (!deaf && this.#cuts < this.#times && at.test(data.toString('latin1'))) {
        this.#cuts++
        deaf = true
        if (cut === 'request lost') return void [socket, upstream].map((each) => each.destroy())
      }
      upstream.write(data)
    })
    upstream.on('data', (data) => {
      if (deaf && cut === 'answer withheld') return
      if (deaf) return void [socket, upstream].map((each) => each.destroy())
      socket.write(data)
    })
    socket.on('close', () => upstream.end())
    upstream.on('close', () => socket.end())
  }

  async close(): Promise<void> {
    await shut(this.#listener, this.#sockets)
  }
}

interface ValveState {
  cut: boolean
  readonly ports: Set<number>
}

/** A way to a server that can be cut: what is under way hangs, and nothing new comes through, until it is mended. */
export class Valve {
  readonly address: string
  readonly #listener: Listener
  readonly #sockets: Set<Socket>
  readonly #state: ValveState

  private constructor(listener: Listener, sockets: Set<Socket>, state: ValveState) {
    this.#listener = listener
    this.#sockets = sockets
    this.#state = state
    const { address, port } = listener.address() as AddressInfo
    this.address = formatAddress({ host: address, port })
  }

  /** The ports from which it has connected to the server. */
  get ports(): ReadonlySet<number> {
    return this.#state.ports
  }

  /** @param at where it listens; any port of 127.0.0.1 by default */
  static async open(to: Server, at?: HostPort): Promise<Valve> {
    const sockets = new Set<Socket>()
    const state: ValveState = { cut: false, ports: new Set() }
    const listener = await listen((socket) => {
      sockets.add(socket)
      socket.on('error', () => undefined)
      if (state.cut) return
      const upstream = dial(to.port, to.host)
      sockets.add(upstream)
      upstream.on('connect', () => state.ports.add(upstream.localPort ?? 0))
      upstream.on('error', () => socket.destroy())
      for (const [from, into] of [
        [socket, upstream],
        [upstream, socket],
      ] as const) {
        from.on('data', (data) => state.cut || into.write(data))
        from.on('close', () => state.cut || into.destroy())
      }
    }, at)
    return new Valve(listener, sockets, state)
  }

  /** From now on nothing passes and nobody is told, as when a cable is pulled. */
  cut(): void {
    this.#state.cut = true
  }

  /** New connections come through again; those that were cut are gone. */
  mend(): void {
    this.#state.cut = false
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  async close(): Promise<void> {
    await shut(this.#listener, this.#sockets)
  }
}
