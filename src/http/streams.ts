import type { ServerResponse } from 'node:http'
import { peerOf } from './places.ts'

export interface StreamOptions {
  readonly listeners: number
  /** Between two signs of life, so that neither side nor what is between takes the connection for dead; milliseconds. */
  readonly heartbeatMs: number
  /** How long one stream lasts at most, in milliseconds; null: until its client goes. */
  readonly lifeMs: number | null
}

/** What may wait for one listener, in bytes; whoever is slower is let go, and may come again. */
const BACKLOG = 512 * 1024

/** Everybody who listens to the events of one listener, as server-sent events. */
export class EventStreams {
  readonly #options: StreamOptions
  /** By their answers, the oldest first: the peer's address. */
  readonly #open = new Map<ServerResponse, string>()
  #heart: NodeJS.Timeout | null = null

  constructor(options: StreamOptions) {
    this.#options = options
  }

  get isFull(): boolean {
    return this.#open.size >= this.#options.listeners
  }

  get isEmpty(): boolean {
    return this.#open.size === 0
  }

  /** Ends the oldest stream of whoever has the most of them, where there is no place left. */
  makeRoom(): void {
    if (!this.isFull) return
    const peers = [...this.#open.values()]
    const count = (peer: string) => peers.filter((each) => each === peer).length
    const most = Math.max(...peers.map(count))
    const [victim] = [...this.#open].find(([, peer]) => count(peer) === most) ?? []
    victim?.destroy()
    if (victim) this.#forget(victim)
  }

  /**
   * Takes the answer over, and keeps it until its client goes, is too slow, its time is over, or `close`.
   * @param first what is sent at once
   */
  add(answer: ServerResponse, headers: Readonly<Record<string, string>> = {}, first = ''): void {
    answer.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...headers,
    })
    answer.write(`: citus-ha\n\n${first}`)
    const { heartbeatMs, lifeMs } = this.#options
    const life = lifeMs === null ? undefined : setTimeout(() => answer.end(), lifeMs)
    answer.on('error', () => undefined)
    answer.once('close', () => {
      clearTimeout(life)
      this.#forget(answer)
    })
    this.#open.set(answer, peerOf(answer.socket?.remoteAddress ?? ''))
    this.#heart ??= setInterval(() => this.send(': \n\n'), heartbeatMs)
  }

  send(text: string): void {
    for (const answer of this.#open.keys()) {
      if (answer.writableLength + text.length > BACKLOG) answer.destroy()
      else answer.write(text)
    }
  }

  /** Ends every stream. */
  close(): void {
    for (const answer of this.#open.keys()) answer.end()
  }

  #forget(answer: ServerResponse): void {
    this.#open.delete(answer)
    if (this.#open.size > 0 || this.#heart === null) return
    clearInterval(this.#heart)
    this.#heart = null
  }
}

/** One server-sent event; `data` holds no line break. */
export function streamed(id: string | number, event: string, data: string): string {
  return `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`
}
