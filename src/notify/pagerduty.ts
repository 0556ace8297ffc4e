import { type PagerDuty, routingKeyProblem } from '../config/notify.ts'
import { readSecret } from '../config/secret-file.ts'
import type { Notification, NotificationDocument } from './notification.ts'
import { postDelivery } from './post.ts'

/** Characters (PagerDuty: Events API v2, "Send an alert event"). */
const LONGEST_SUMMARY = 1024
const LONGEST_KEY = 255

/** Opens and resolves alerts of PagerDuty by its Events API v2. Never throws. */
export function pagerDutyDelivery({ url, routingKey }: PagerDuty, timeoutMs: number) {
  const compose = async (notification: Notification) => {
    const alert = pagerDutyEvent(notification)
    if (alert === null) return null
    const key = (await readSecret(routingKey, routingKeyProblem)).reveal()
    return { url, body: JSON.stringify({ routing_key: key, ...alert }) }
  }
  return postDelivery(compose, timeoutMs)
}

/**
 * One alert for each group, by what is believed of it, and one for a database's changes that fail; each instance gives them
 * the same key. Without the routing key.
 * @returns null where nobody is to be woken: what citus-ha is about to do by itself
 */
export function pagerDutyEvent({ document, urgency }: Notification): object | null {
  const { id, at, instance, event, text, code, group, data } = document
  const database = databaseOf(data)
  const about = event === 'diagnosed' ? `group ${group}` : 'changes'
  const key = { dedup_key: `citus-ha ${database} ${about}`.slice(0, LONGEST_KEY) }
  if (urgency === 'good') return { event_action: 'resolve', ...key }
  if (urgency === 'info') return null
  const payload = {
    summary: text.slice(0, LONGEST_SUMMARY),
    source: instance,
    severity: urgency,
    timestamp: at,
    component: 'citus',
    group: database,
    class: code,
    custom_details: { id, event, group, ...data },
  }
  return { event_action: 'trigger', ...key, payload, client: 'citus-ha' }
}

function databaseOf({ database, report }: NotificationDocument['data']): string {
  return String(database ?? (report as { database?: unknown } | undefined)?.database)
}
