import type { ServerResponse } from 'node:http'
import type { WatchEvent } from '../../watch/event.ts'
import { saidOf } from '../../watch/said.ts'
import { scrubbed } from '../../watch/scrub.ts'

/** Milliseconds between two signs of life, so that neither side nor what is between takes the connection for dead. */
const HEARTBEAT_MS = 10_000
const LISTENERS = 20
/** What may wait for one listener, in bytes; whoever is slower is let go, and may come again. */
const BACKLOG = 512 * 1024

/** Everybody who listens to `/v1/events`. */
export class EventStreams {
  readonly #open = new Set<ServerResponse>()
  #count = 0
  #heart: NodeJS.Timeout | null = null

  get isFull(): boolean {
    return this.#open.size >= LISTENERS
  }

  /** Takes the answer over, and keeps it until its client goes, is too slow, or `close`. */
  add(answer: ServerResponse): void {
    answer.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    })
    answer.write(': citus-ha\n\n')
    answer.on('error', () => undefined)
    answer.once('close', () => this.#forget(answer))
    this.#open.add(answer)
    this.#heart ??= setInterval(() => this.#send(': \n\n'), HEARTBEAT_MS)
  }

  told(event: WatchEvent): void {
    this.#count++
    if (this.#open.size === 0) return
    const data = JSON.stringify(scrubbed({ at: new Date().toISOString(), ...event, remark: saidOf(event) }))
    this.#send(`id: ${this.#count}\nevent: ${event.kind}\ndata: ${data}\n\n`)
  }

  /** Ends every stream. */
  close(): void {
    for (const answer of this.#open) answer.end()
  }

  #send(text: string): void {
    for (const answer of this.#open) {
      if (answer.writableLength + text.length > BACKLOG) answer.destroy()
      else answer.write(text)
    }
  }

  #forget(answer: ServerResponse): void {
    this.#open.delete(answer)
    if (this.#open.size > 0 || this.#heart === null) return
    clearInterval(this.#heart)
    this.#heart = null
  }
}
