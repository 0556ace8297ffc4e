import { type ChildProcess, spawn } from 'node:child_process'
import type { LookupAddress } from 'node:dns'
import { lookup } from 'node:dns/promises'
import { isIP, type LookupFunction } from 'node:net'
import { codeOf, messageOf } from './sqlstate.ts'

/** @throws what getaddrinfo says */
export type LookUp = (host: string) => Promise<LookupAddress[]>

export interface Found {
  readonly addresses: readonly LookupAddress[]
  /** Why these are only the last ones known; null: they were looked up. */
  readonly doubt: string | null
}

/** A name that can't be looked up, or an address that served in its place and is not the server's perhaps. */
export class NameError extends Error {
  override readonly name = 'NameError'
  readonly code: string
  constructor(message: string, cause?: unknown) {
    super(message, { cause })
    const code = codeOf(cause)
    this.code = code?.startsWith('EAI_') || code === 'ENOTFOUND' ? code : 'EAI_AGAIN'
  }
}

interface Entry {
  last: { readonly addresses: readonly LookupAddress[]; readonly at: number } | null
  under: Promise<LookupAddress[]> | null
  /** Somebody has waited for the one under way in vain: nobody else does. */
  late: boolean
}

/** How long the last good addresses of a name serve. */
const KEPT_MS = 300_000

/**
 * Looks names up: one look-up for all who want the same name, each wait with a limit, and the last good addresses where
 * it fails or is late. Addresses are never looked up.
 */
export class Names {
  readonly #lookUp: LookUp
  readonly #entries = new Map<string, Entry>()

  constructor(lookUp: LookUp) {
    this.#lookUp = lookUp
  }

  /**
   * @param limitMs for the whole connection: where an address is known already, half of it is left to try that
   * @throws NameError
   */
  async find(host: string, limitMs: number): Promise<Found> {
    const family = isIP(host)
    if (family !== 0) return { addresses: [{ address: host, family }], doubt: null }
    const entry = this.#entries.get(host) ?? { last: null, under: null, late: false }
    this.#entries.set(host, entry)
    const last = entry.last && performance.now() - entry.last.at <= KEPT_MS ? entry.last : null
    try {
      const addresses = await within(this.#underWay(host, entry), entry.late ? 0 : limitMs / (last ? 2 : 1))
      return { addresses, doubt: null }
    } catch (error) {
      if (error instanceof Late) entry.late = entry.under !== null
      const doubt = `the host name ${host} cannot be resolved: ${messageOf(error)}`
      if (last) return { addresses: last.addresses, doubt }
      throw new NameError(doubt, error)
    }
  }

  #underWay(host: string, entry: Entry): Promise<LookupAddress[]> {
    entry.under ??= this.#lookUp(host)
      .then((addresses) => {
        if (addresses.length === 0) throw Object.assign(new Error('it has no address'), { code: 'ENOTFOUND' })
        entry.last = { addresses, at: performance.now() }
        return addresses
      })
      .finally(() => {
        entry.under = null
        entry.late = false
      })
    return entry.under
  }
}

/** What the machine says, its hosts file as a rule; where it knows none, loopback (RFC 6761, section 6.3). */
export async function localhost(lookUp: LookUp = inThisProcess): Promise<LookupAddress[]> {
  return await lookUp('localhost').catch(() => LOOPBACK)
}

const inThisProcess: LookUp = (host) => lookup(host, { all: true })
const LOOPBACK: LookupAddress[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
]

/** For `net`, which tries all of them in turn. */
export function answering(addresses: readonly LookupAddress[]): LookupFunction {
  return (_, { all }, done) => {
    const [first] = addresses
    if (all) done(null, [...addresses])
    else done(null, first?.address ?? '', first?.family)
  }
}

class Late extends Error {}

async function within<T>(promise: Promise<T>, limitMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Late('no answer yet')), limitMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * getaddrinfo can't be stopped, each call takes a thread as long as the resolver waits (10 s and more), Node runs two at
 * a time, and its exit waits for them. So another process runs it, with many threads, which is killed with this one.
 * Half of the threads may look names up (libuv's threadpool.c): more names than that don't hang at a time.
 */
const THREADS = 128
const SCRIPT = `
const { lookup } = require('node:dns')
process.title = 'citus-ha names'
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2']) process.on(signal, () => {})
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
process.on('message', ({ id, host }) => {
  lookup(host, { all: true }, (error, addresses) => {
    if (process.connected) process.send({ id, addresses, code: error?.code, message: error?.message })
  })
})`

interface Answer {
  readonly id: number
  readonly addresses?: LookupAddress[]
  readonly code?: string
  readonly message?: string
}

/** The system's getaddrinfo in a process of its own, begun with the first name. */
class LookUpProcess {
  #child: ChildProcess | null = null
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #ids = 0

  async lookUp(host: string): Promise<LookupAddress[]> {
    if (host.toLowerCase() === 'localhost') return await localhost()
    const child = this.#started()
    const id = ++this.#ids
    const { addresses, code, message } = await new Promise<Answer>((resolve) => {
      this.#waiting.set(id, resolve)
      child.send({ id, host }, (error) => {
        if (error) this.#gone(child, error.message)
      })
    })
    if (addresses) return addresses
    throw Object.assign(new Error(message ?? 'no answer'), { code: code ?? 'EAI_FAIL' })
  }

  #started(): ChildProcess {
    if (this.#child) return this.#child
    const child = spawn(process.execPath, ['-e', SCRIPT], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      env: { ...process.env, UV_THREADPOOL_SIZE: String(THREADS) },
    })
    child.on('message', (answer: Answer) => {
      this.#waiting.get(answer.id)?.(answer)
      this.#waiting.delete(answer.id)
    })
    child.on('error', (error) => this.#gone(child, error.message))
    child.on('exit', (status, signal) => this.#gone(child, `it ended with ${signal ?? status}`))
    // Whoever waits has a limit of his own, which keeps this process alive.
    child.unref()
    child.channel?.unref()
    this.#child = child
    return child
  }

  /** The next name begins another one. */
  #gone(child: ChildProcess, why: string): void {
    if (this.#child !== child) return
    this.#child = null
    child.kill('SIGKILL')
    const message = `the process that resolves host names: ${why}`
    for (const [id, told] of this.#waiting) told({ id, code: 'EAI_FAIL', message })
    this.#waiting.clear()
  }
}

const system = new LookUpProcess()

/** Those of this process: whoever connects shares them. */
export const NAMES = new Names((host) => system.lookUp(host))

/**
 * For requests over HTTP: no thread of this process waits for a resolver, and the last good addresses serve.
 * @param limitMs for the whole request
 */
export function lookupBy(names: Names, limitMs: number): LookupFunction {
  return (host, options, callback) => {
    names.find(host, limitMs).then(
      ({ addresses }) => answering(addresses)(host, options, callback),
      (error: NodeJS.ErrnoException) => callback(error, ''),
    )
  }
}
