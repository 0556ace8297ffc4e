import { randomUUID } from 'node:crypto'
import type { Notified } from '../config/notify.ts'
import type { WatchEvent } from '../watch/event.ts'
import { saidOf } from '../watch/said.ts'
import { type Fields, scrubbed } from '../watch/scrub.ts'

/** An event that can be told to others. */
export type NotifiedEvent = Extract<WatchEvent, { kind: Notified }>

/** `good`: what was wrong is over; `info`: for the record. */
export type Urgency = 'critical' | 'warning' | 'info' | 'good'

/** What is told: without passwords. */
export interface NotificationDocument {
  readonly id: string
  readonly at: string
  readonly instance: string
  readonly event: Notified
  readonly text: string
  readonly code: string
  readonly group: number | null
  readonly node: string | null
  readonly data: Fields
}

/** One event on its way out: the same for every target and every try. */
export interface Notification {
  readonly id: string
  readonly event: Notified
  readonly urgency: Urgency
  readonly document: NotificationDocument
  /** The document as JSON. */
  readonly body: string
}

/** @param instance names this watcher, such as `watcher-1:4711` */
export function notificationOf(event: NotifiedEvent, instance: string): Notification {
  const id = randomUUID()
  const { kind, ...data } = event
  const at = new Date().toISOString()
  const { code, group, node, text } = saidOf(event)
  const given = { id, at, instance, event: kind, code, group, node, text, data }
  // Nothing but texts and what is inside of `data` is changed by it.
  const document = scrubbed(given) as unknown as NotificationDocument
  return { id, event: kind, urgency: urgencyOf(event), document, body: JSON.stringify(document) }
}

/** Diagnoses of which nothing may be written are for a person; a proved promotion citus-ha follows by itself. */
function urgencyOf(event: NotifiedEvent): Urgency {
  switch (event.kind) {
    case 'diagnosed':
      if (event.code === 'healthy') return 'good'
      if (event.standing === 'refused') return 'critical'
      if (event.standing === 'proved') return 'info'
      return CRITICAL.includes(event.code) ? 'critical' : 'warning'
    case 'acted':
      return event.failures === 0 ? 'good' : 'critical'
    case 'held':
      return 'warning'
    case 'failed':
      return 'critical'
    case 'leadership':
      return event.now === 'none' ? 'warning' : 'info'
    case 'coordinator':
      return event.node === null ? 'critical' : 'info'
  }
}

/** Sound, for the metadata can stay; and yet writes fail, or are lost. */
const CRITICAL: readonly string[] = ['read-only', 'old-primary-writes']
