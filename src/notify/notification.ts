import { randomUUID } from 'node:crypto'
import type { Notified } from '../config/notify.ts'
import { formatAddress } from '../model/node.ts'
import type { WatchEvent } from '../watch/event.ts'
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
  const document = { id, at: new Date().toISOString(), instance, event: kind, text: textOf(event), data }
  return { id, event: kind, body: JSON.stringify(scrubbed(document)) }
}

/** One line for people; chat programs show it as it is. */
function textOf(event: NotifiedEvent): string {
  switch (event.kind) {
    case 'diagnosed':
      return `${event.database}: group ${event.group} is ${event.code} (${event.rule}): ${event.summary}`
    case 'acted': {
      const { report, groups } = event
      const rows = report.changes.map(({ kind, from, to }) => `${kind} ${from} -> ${to}`)
      const refusals = report.refusals.map(({ group, summary }) => `group ${group}: ${summary}`)
      const why = report.outcome === 'blocked' ? report.warnings.slice(-1) : []
      const details = [...rows, ...refusals, ...why].join('; ')
      const scope = `group${groups.length === 1 ? '' : 's'} ${groups.join(', ')}`
      return `${report.database}: ${scope}: ${report.outcome}${details === '' ? '' : `: ${details}`}`
    }
    case 'held':
      return `${event.database}: group ${event.group}: nothing is done (${event.why}); it would be: ${event.would.join('; ')}`
    case 'failed':
      return `${event.database}: ${event.message.split('\n')[0]}`
    case 'leadership':
      return `${event.database}: this instance is ${event.now}${event.why === null ? '' : `: ${event.why}`}`
    case 'coordinator': {
      const node = event.node === null ? 'no coordinator' : `coordinator ${formatAddress(event.node)}`
      return `${event.database}: ${node}: ${event.why}`
    }
  }
}
