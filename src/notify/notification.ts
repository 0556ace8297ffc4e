import { randomUUID } from 'node:crypto'
import type { Notified } from '../config/notify.ts'
import type { WatchEvent } from '../watch/event.ts'
import { saidOf } from '../watch/said.ts'
import { scrubbed } from '../watch/scrub.ts'

/** An event that can be told to others. */
export type NotifiedEvent = Extract<WatchEvent, { kind: Notified }>

/** One event on its way out: the same for every target and every try. */
export interface Notification {
  readonly id: string
  readonly event: Notified
  /** JSON, what is sent. */
  readonly body: string
}

/** @param instance names this watcher, such as `watcher-1:4711` */
export function notificationOf(event: NotifiedEvent, instance: string): Notification {
  const id = randomUUID()
  const { kind, ...data } = event
  const document = { id, at: new Date().toISOString(), instance, event: kind, ...saidOf(event), data }
  return { id, event: kind, body: JSON.stringify(scrubbed(document)) }
}
