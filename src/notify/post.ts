import type { ClientRequest, IncomingMessage } from 'node:http'
import { redact } from '../config/redact.ts'
import { lookupBy, NAMES, NameError, type Names } from '../db/names.ts'
import { timeLimit } from '../time-limit.ts'
import type { Notification } from './notification.ts'
import type { Delivery } from './target.ts'

/** What is sent to a web address. */
export interface Message {
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
  /** JSON. */
  readonly body: string
}

/**
 * Sends notifications by POST; a redirect is not followed. Never throws.
 * @param compose reads secrets, too, at each try; what it throws is a reason to try again. null: it is no news for this receiver
 * @param names as whom to look the host up
 */
export function postDelivery(
  compose: (notification: Notification) => Promise<Message | null>,
  timeoutMs: number,
  names: Names = NAMES,
) {
  return async (notification: Notification, signal: AbortSignal): Promise<Delivery> => {
    const time = timeLimit(timeoutMs)
    try {
      const message = await compose(notification)
      if (message === null) return { kind: 'sent' }
      const target = new URL(message.url)
      // Loaded here: a watcher that tells nobody should not wait for it.
      const { request } = await import(target.protocol === 'https:' ? 'node:https' : 'node:http')
      const asked: ClientRequest = request(target, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(message.body),
          'user-agent': 'citus-ha',
          ...message.headers,
        },
        agent: false,
        lookup: lookupBy(names, timeoutMs),
        signal: AbortSignal.any([signal, time.signal]),
      })
      return judge(await answerTo(asked, message.body))
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

function judge({ statusCode: status = 0, headers }: IncomingMessage): Delivery {
  if (status >= 200 && status < 300) return { kind: 'sent' }
  const why = `HTTP status ${status}`
  if (status !== 429 && status < 500) return { kind: 'refused', why }
  const seconds = Number(headers['retry-after'] ?? 0)
  return { kind: 'again', why, afterMs: seconds > 0 ? seconds * 1000 : 0 }
}

function whyNot(error: unknown): string {
  if (error instanceof NameError) return redact(error.message)
  if (!(error instanceof Error)) return String(error)
  return redact((error as NodeJS.ErrnoException).code ?? error.message).split('\n')[0] ?? ''
}
