import { createHmac } from 'node:crypto'
import { secretProblem, type Webhook } from '../config/notify.ts'
import { readSecret } from '../config/secret-file.ts'
import type { Names } from '../db/names.ts'
import type { Notification } from './notification.ts'
import { postDelivery } from './post.ts'

/**
 * Sends one notification to a URL, signed. Never throws.
 * @param names as whom to look its host up
 */
export function webhookDelivery({ url, secret }: Webhook, timeoutMs: number, names?: Names) {
  const compose = async ({ id, event, body }: Notification) => {
    const key = (await readSecret(secret, secretProblem)).reveal()
    const headers = {
      'x-citus-ha-event': event,
      'x-citus-ha-delivery': id,
      'x-citus-ha-signature': signature(body, key, Math.floor(Date.now() / 1000)),
    }
    return { url: url.reveal(), headers, body }
  }
  return postDelivery(compose, timeoutMs, names)
}

/**
 * `t=<unix seconds>,v1=<hex>`: HMAC-SHA256 of `<t>.<body>`. With the time in it, a receiver can refuse what is old.
 */
export function signature(body: string, key: string, seconds: number): string {
  return `t=${seconds},v1=${createHmac('sha256', key).update(`${seconds}.${body}`).digest('hex')}`
}
