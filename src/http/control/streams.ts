import type { WatchEvent } from '../../watch/event.ts'
import { saidOf } from '../../watch/said.ts'
import { scrubbed } from '../../watch/scrub.ts'
import { EventStreams, streamed } from '../streams.ts'

const HEARTBEAT_MS = 10_000
const LISTENERS = 20

/** Everybody who listens to `/v1/events`. */
export class ControlStreams extends EventStreams {
  #count = 0

  constructor() {
    super({ listeners: LISTENERS, heartbeatMs: HEARTBEAT_MS, lifeMs: null })
  }

  told(event: WatchEvent): void {
    this.#count++
    if (this.isEmpty) return
    const data = JSON.stringify(scrubbed({ at: new Date().toISOString(), ...event, remark: saidOf(event) }))
    this.send(streamed(this.#count, event.kind, data))
  }
}
