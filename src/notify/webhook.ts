import { createHmac } from 'node:crypto'
import { secretProblem, type Webhook } from '../config/notify.ts'
import { redact } from '../config/redact.ts'
import { readSecret } from '../config/secret-file.ts'
import { timeLimit } from '../time-limit.ts'
import type { Notification } from './notification.ts'
import type { Delivery } from './target.ts'

/** Sends one notification to a URL, signed; a redirect is not followed. Never throws. */
export function webhookDelivery({ url, secret }: Webhook, timeoutMs: number) {
  return async (notification: Notification, signal: AbortSignal): Promise<Delivery> => {
    const time = timeLimit(timeoutMs)
    try {
      const key = (await readSecret(secret, secretProblem)).reveal()
      const answer = await fetch(url.reveal(), {
        method: 'POST',
        headers: headersOf(notification, key),
        body: notification.body,
        redirect: 'manual',
        signal: AbortSignal.any([signal, time.signal]),
      })
      // What it says is of no interest, and must not keep the connection.
      await answer.body?.cancel()
      return judge(answer)
    } catch (error) {
      return { kind: 'again', why: whyNot(error, timeoutMs), afterMs: 0 }
    } finally {
      time.clear()
    }
  }
}

function headersOf({ id, event, body }: Notification, key: string): Record<string, string> {
  return {
    'content-type': 'application/json',
    'user-agent': 'citus-ha',
    'x-citus-ha-event': event,
    'x-citus-ha-delivery': id,
    'x-citus-ha-signature': signature(body, key, Math.floor(Date.now() / 1000)),
  }
}

/**
 * `t=<unix seconds>,v1=<hex>`: HMAC-SHA256 of `<t>.<body>`. With the time in it, a receiver can refuse what is old.
 */
export function signature(body: string, key: string, seconds: number): string {
  return `t=${seconds},v1=${createHmac('sha256', key).update(`${seconds}.${body}`).digest('hex')}`
}

function judge({ status, headers }: Response): Delivery {
  if (status >= 200 && status < 300) return { kind: 'sent' }
  const why = `it answers ${status}`
  if (status !== 429 && status < 500) return { kind: 'refused', why }
  const seconds = Number(headers.get('retry-after') ?? 0)
  return { kind: 'again', why, afterMs: seconds > 0 ? seconds * 1000 : 0 }
}

/** fetch says no more than that it failed; why is in the cause. */
function whyNot(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error)
  if (error.name === 'TimeoutError') return `no answer within ${timeoutMs} ms`
  const { cause } = error
  const code = cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : null
  return redact(code ?? error.message).split('\n')[0] ?? ''
}
