import type { LookupAddress } from 'node:dns'
import { connect as connectSocket, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { formatAddress, type HostPort } from '../model/node.ts'
import { answering, NAMES, NameError, type Names } from './names.ts'
import type { Onlooker } from './onlooker.ts'
import type { SslPlan } from './ssl.ts'
import { encrypt, offersTls, once, TlsError } from './tls.ts'

type Step = 'plain' | 'tls' | 'tls-if-offered'

/** What each mode tries, in order; the second only where the rules at {@link ServerStream} say so. */
const STEPS: Readonly<Record<SslPlan['mode'], readonly Step[]>> = {
  disable: ['plain'],
  allow: ['plain', 'tls'],
  prefer: ['tls-if-offered', 'plain'],
  require: ['tls'],
  'verify-ca': ['tls'],
  'verify-full': ['tls'],
}

const ERROR_RESPONSE = 'E'.charCodeAt(0)
const AUTHENTICATION = 'R'.charCodeAt(0)
/** Longer than any message before AuthenticationOk; then this is no PostgreSQL server. */
const LONGEST_MESSAGE = 65_536

/** Whom a stream leads to. */
export interface Peer extends HostPort {
  readonly ssl: SslPlan
  readonly connectTimeoutMs: number
  readonly onlooker?: Onlooker
}

/** Nothing was heard from the server in time. */
class ConnectTimeout extends Error {
  override readonly name = 'ConnectTimeout'
  readonly code = 'CONNECT_TIMEOUT'
  constructor(peer: Peer) {
    super(`no answer from ${formatAddress(peer)} within ${peer.connectTimeoutMs} ms`)
  }
}

/**
 * The bytes between a driver and a server, encrypted as libpq's `sslmode` says. Both drivers get one, so that both
 * verify alike. As in libpq (`PQconnectPoll` in fe-connect.c) the other way is tried, once,
 * - under prefer, when the TLS handshake failed, a certificate that does not verify included;
 * - under prefer and allow, when the server answered with an error before it had authenticated us (pg_hba.conf
 *   may have a line for one way only). The startup message is then repeated, and the driver sees only the answer of
 *   the second connection; where that fails too, the answer of the encrypted one, which tells more.
 *
 * A server that answers the TLS request with "no" goes on unencrypted under prefer and is an error under the rest.
 */
export class ServerStream extends Duplex {
  readonly #target: Peer
  readonly #names: Names
  readonly #steps: Step[]
  #timer: NodeJS.Timeout | undefined
  #dialling: Socket | null = null
  #wire: Socket | null = null
  /** The driver's write that waits for a connection. */
  #waiting: (() => void) | null = null
  #keepAlive: Parameters<Socket['setKeepAlive']> | null = null
  /** The driver's first write, kept as long as another connection may need it. */
  #startup: Buffer | null = null
  #authenticating: boolean
  #unread: Buffer = Buffer.alloc(0)
  /** What the first connection's server said. */
  #refusal: Buffer | null = null

  /** Why a silence would prove nothing of the server: its name was not looked up. */
  #doubt: string | null = null

  constructor(target: Peer, names = NAMES) {
    super()
    this.#names = names
    this.once('end', () => this.destroy()) // all that came was read; nobody goes on writing to a closed server
    this.#target = target
    this.#steps = [...STEPS[target.ssl.mode]]
    this.#authenticating = this.#steps.length > 1
  }

  /** Emits `connect` when a startup message may be sent, else `error`. */
  connect(): this {
    const { port, host } = this.#target
    this.#limit()
    this.#dial(port, host).then(
      (wire) => {
        this.#attach(wire, port, host)
        if (!this.destroyed) this.emit('connect')
      },
      (error: Error) => this.destroy(error),
    )
    return this
  }

  async #dial(port: number, host: string): Promise<Socket> {
    const step = this.#steps.shift() ?? 'plain'
    const socket = await this.#open(port, host)
    this.#dialling = socket
    try {
      await once(socket, 'connect')
      if (step === 'plain') return socket
      if (await offersTls(socket)) return await encrypt(socket, host, this.#target.ssl)
      if (step === 'tls') throw new TlsError('the server does not offer TLS', 'ERR_TLS_NOT_OFFERED')
      this.#settle() // no second way is left
      return socket
    } catch (error) {
      socket.destroy()
      const [next] = this.#steps
      if (this.destroyed || next === undefined || !(error instanceof TlsError)) throw error
      return this.#dial(port, host)
    }
  }

  /** @param host a name or an address; or a directory, which has the server's Unix socket */
  async #open(port: number, host: string): Promise<Socket> {
    if (host.startsWith('/')) return connectSocket({ path: `${host}/.s.PGSQL.${port}` })
    const addresses = await this.#addressesOf(host)
    return connectSocket({ port, host, noDelay: true, lookup: answering(addresses) })
  }

  async #addressesOf(host: string): Promise<readonly LookupAddress[]> {
    this.#doubt = `the host name ${host} is still being resolved`
    const { addresses, doubt } = await this.#names.find(host, this.#target.connectTimeoutMs)
    this.#doubt = doubt
    if (this.destroyed) throw new Error('the connection was given up')
    return addresses
  }

  /** @param greeting what was said on the connection before, to be said again */
  #attach(wire: Socket, port: number, host: string, greeting: Buffer | null = null): void {
    this.#dialling = null
    if (this.destroyed) {
      wire.destroy()
      return
    }
    this.#wire = wire
    const tls = wire instanceof TLSSocket ? wire.getProtocol() : null
    this.#target.onlooker?.wired({ ip: wire.remoteAddress ?? null, tls })
    wire.on('data', (chunk: Buffer) => this.#hear(chunk, port, host))
    wire.on('error', (error) => this.destroy(error))
    wire.on('end', () => this.#end())
    wire.on('close', () => this.#end())
    if (this.#keepAlive) wire.setKeepAlive(...this.#keepAlive)
    if (greeting) wire.write(greeting)
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.()
  }

  /** Until the server's first answer. A driver's own limit goes on after that, but `pg` gives its error no code. */
  #limit(): void {
    const { connectTimeoutMs } = this.#target
    this.#timer = setTimeout(() => {
      if (this.#refusal) this.#passRefusal(this.#refusal)
      else this.destroy(new ConnectTimeout(this.#target))
    }, connectTimeoutMs)
  }

  #hear(chunk: Buffer, port: number, host: string): void {
    clearTimeout(this.#timer)
    this.#doubt = null
    if (!this.#authenticating) {
      this.#pass(chunk)
      return
    }
    let rest = Buffer.concat([this.#unread, chunk])
    while (this.#authenticating && rest.length >= 5) {
      const end = rest.readInt32BE(1) + 1
      if (end < 5 || end > LONGEST_MESSAGE) break
      if (rest.length < end) {
        this.#unread = rest
        return
      }
      const message = rest.subarray(0, end)
      if (message[0] === ERROR_RESPONSE) {
        this.#refused(rest, port, host)
        return
      }
      if (message[0] === AUTHENTICATION && message.length >= 9 && message.readInt32BE(5) === 0) this.#settle()
      this.#pass(message)
      rest = rest.subarray(end)
    }
    if (rest.length >= 5) this.#settle()
    this.#unread = this.#authenticating ? rest : Buffer.alloc(0)
    if (!this.#authenticating && rest.length > 0) this.#pass(rest)
  }

  /** The server answered with an error before it had authenticated us. */
  #refused(answer: Buffer, port: number, host: string): void {
    const [next] = this.#steps
    if (next === undefined) {
      this.#settle()
      this.#pass(this.#target.ssl.mode === 'prefer' ? (this.#refusal ?? answer) : answer)
      return
    }
    this.#refusal = answer
    this.#unread = Buffer.alloc(0)
    this.#detach()
    this.#limit()
    this.#dial(port, host).then(
      (wire) => this.#attach(wire, port, host, this.#startup),
      () => this.#passRefusal(answer),
    )
  }

  /** Whatever becomes of the second connection, the first one's server has answered. */
  #passRefusal(answer: Buffer): void {
    clearTimeout(this.#timer)
    if (this.#steps.length === 0 && !this.#authenticating) return
    this.#settle()
    this.#dialling?.destroy()
    this.#detach()
    this.push(answer)
    this.push(null)
  }

  #end(): void {
    if (this.#doubt === null) this.push(null)
    else this.destroy(Object.assign(new Error('the server closed the connection'), { code: 'ECONNRESET' }))
  }

  #detach(): void {
    const wire = this.#wire
    this.#wire = null
    if (!wire) return
    wire.removeAllListeners()
    wire.on('error', () => {})
    wire.destroy()
  }

  #settle(): void {
    this.#authenticating = false
    this.#steps.length = 0
    this.#startup = null
  }

  #pass(bytes: Buffer): void {
    if (!this.push(bytes)) this.#wire?.pause()
  }

  override _read(): void {
    this.#wire?.resume()
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const wire = this.#wire
    if (wire === null) {
      this.#waiting = () => this._write(chunk, encoding, done)
      return
    }
    if (this.#authenticating) this.#startup ??= chunk
    // Bytes for a connection that was given up are lost, as is their error.
    wire.write(chunk, (error) => done(wire === this.#wire ? error : null))
  }

  override _final(done: () => void): void {
    if (this.#wire) this.#wire.end(() => done())
    else done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.#timer)
    this.#dialling?.destroy()
    this.#detach()
    const doubted = error !== null && this.#doubt !== null && !(error instanceof TlsError)
    done(doubted ? silenceInDoubt(error, this.#doubt ?? '') : error)
  }

  // What the drivers ask of a socket.

  get readyState(): string {
    if (this.destroyed) return 'closed'
    return this.#wire === null ? 'opening' : 'open'
  }

  setNoDelay(): this {
    return this // always on
  }

  setKeepAlive(...settings: Parameters<Socket['setKeepAlive']>): this {
    this.#keepAlive = settings
    this.#wire?.setKeepAlive(...settings)
    return this
  }

  ref(): this {
    this.#wire?.ref()
    return this
  }

  unref(): this {
    this.#wire?.unref()
    return this
  }
}

/** Silence at an address that was not looked up proves nothing: it may be somebody else's by now. */
function silenceInDoubt(error: Error, doubt: string): NameError {
  if (error instanceof NameError) return error
  return new NameError(`${doubt}; at the last known address: ${error.message}`)
}
