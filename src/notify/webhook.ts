import { createHmac } from 'node:crypto'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { secretProblem, type Webhook } from '../config/notify.ts'
import { redact } from '../config/redact.ts'
import { readSecret } from '../config/secret-file.ts'
import { lookupBy, NAMES, NameError, type Names } from '../db/names.ts'
import { timeLimit } from '../time-limit.ts'
import type { Notification } from './notification.ts'
import type { Delivery } from './target.ts'

/**
 * Sends one notification to a URL, signed; a redirect is not followed. Never throws.
 * @param names as whom to look its host up
 */
export function webhookDelivery({ url, secret }: Webhook, timeoutMs: number, names: Names = NAMES) {
  return async (notification: Notification, signal: AbortSignal): Promise<Delivery> => {
    const time = timeLimit(timeoutMs)
    try {
      const key = (await readSecret(secret, secretProblem)).reveal()
      const target = new URL(url.reveal())
      // Loaded here: a watcher that tells nobody should not wait for it.
      const { request } = await import(target.protocol === 'https:' ? 'node:https' : 'node:http')
      const asked: ClientRequest = request(target, {
        method: 'POST',
        headers: headersOf(notification, key),
        agent: false,
        lookup: lookupBy(names, timeoutMs),
        signal: AbortSignal.any([signal, time.signal]),
      })
      return judge(await answerTo(asked, notification.body))
    } catch (error) {
      const why = time.signal.aborted ? `no answer within ${timeoutMs} ms` : whyNot(error)
      return { kind: 'again', why, afterMs: 0 }
    } finally {
      time.clear()
    }
  }
}

/** What it says is of no interest, and must not keep the connection. */
function answerTo(asked: ClientRequest, body: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    asked.once('response', (answer) => {
      answer.on('error', () => undefined).destroy()
      resolve(answer)
    })
    // It may come after the answer as well, and must not be unheard then.
    asked.on('error', reject)
    asked.end(body)
  })
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

function judge({ statusCode: status = 0, headers }: IncomingMessage): Delivery {
  if (status >= 200 && status < 300) return { kind: 'sent' }
  const why = `it answers ${status}`
  if (status !== 429 && status < 500) return { kind: 'refused', why }
  const seconds = Number(headers['retry-after'] ?? 0)
  return { kind: 'again', why, afterMs: seconds > 0 ? seconds * 1000 : 0 }
}

function whyNot(error: unknown): string {
  if (error instanceof NameError) return redact(error.message)
  if (!(error instanceof Error)) return String(error)
  return redact((error as NodeJS.ErrnoException).code ?? error.message).split('\n')[0] ?? ''
}
