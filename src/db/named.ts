import { formatAddress, type HostPort } from '../model/node.ts'
import { type Parameters, type Row, type SessionLike, SessionLost } from './pg.ts'
import { codeOf, messageOf } from './sqlstate.ts'

/** A sentence about a node, with its address in front where it does not begin with that already. */
export function saidOf(node: HostPort, text: string): string {
  const at = formatAddress(node)
  const isNamed = text.startsWith(at) && !/^\d/.test(text.slice(at.length))
  return isNamed ? text : `${at}: ${text}`
}

/** The same failure, with the node that it is of in front; the code stays, and that a session is lost. */
export function ofNode(node: HostPort, error: unknown): Error {
  const message = saidOf(node, messageOf(error))
  if (error instanceof SessionLost) return new SessionLost(message, error.code, { cause: error })
  return Object.assign(new Error(message, { cause: error }), { code: codeOf(error) })
}

/** @throws `ofNode` of what `work` throws */
export async function naming<T>(node: HostPort, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw ofNode(node, error)
  }
}

interface Opener {
  open(address: HostPort, database: string): Promise<SessionLike>
}

/** A session whose failures, that to open it first of all, say which node they are of. @throws `ofNode` */
export async function openNamed(access: Opener, node: HostPort, database: string): Promise<SessionLike> {
  return new NamedSession(node, await naming(node, () => access.open(node, database)))
}

class NamedSession implements SessionLike {
  readonly #node: HostPort
  readonly #session: SessionLike

  constructor(node: HostPort, session: SessionLike) {
    this.#node = node
    this.#session = session
  }

  get pid(): number {
    return this.#session.pid
  }

  get alive(): boolean {
    return this.#session.alive
  }

  async run(sql: string, limitMs: number, parameters?: Parameters): Promise<Row[][]> {
    return await naming(this.#node, () => this.#session.run(sql, limitMs, parameters))
  }

  onNotice(told: (text: string) => void): void {
    this.#session.onNotice?.(told)
  }

  onLost(told: (error: Error) => void): void {
    this.#session.onLost?.((error) => told(ofNode(this.#node, error)))
  }

  async close(): Promise<void> {
    await this.#session.close()
  }
}
