import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http'
import { ConfigError } from '../../config/config-error.ts'
import { type Control, tokenProblem } from '../../config/control.ts'
import { readGiven, whyUnreadable } from '../../config/read-file.ts'
import type { Config } from '../../config/schema.ts'
import { readSecret } from '../../config/secret-file.ts'
import { lookupBy, NAMES } from '../../db/names.ts'
import { timeLimit } from '../../time-limit.ts'

/** One order to a running watcher. */
export interface ControlCall {
  readonly method: 'GET' | 'POST'
  /** Such as `/v1/reconcile`. */
  readonly path: string
  /** Sent as JSON; null: nothing. */
  readonly body: object | null
  /** For the whole call, in milliseconds; connecting has a shorter limit of its own. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/**
 * What came of it. `unavailable`: nobody is there, or what he did is not known; an order may be given again, or carried
 * out by the caller himself, since a change is compare-and-set.
 */
export type ControlAnswer =
  | { readonly kind: 'answered'; readonly status: number; readonly body: unknown }
  | { readonly kind: 'unavailable'; readonly why: string }

/** A watcher is near and answers at once, or it is not there. Milliseconds. */
const CONNECT_MS = 300
const LONGEST_ANSWER = 16 * 1024 * 1024

/** Asks the watcher that the configuration names. Never throws. */
export async function callControl({ control }: Config, call: ControlCall): Promise<ControlAnswer> {
  if (control === null) return unavailable('the configuration has no "control" section (docs/control.md)')
  try {
    const { status, text } = await exchange(await optionsOf(control, call), call)
    return { kind: 'answered', status, body: JSON.parse(text) }
  } catch (error) {
    if (error instanceof SyntaxError) return unavailable(`${control.connect.url} did not answer with JSON`)
    const why = error instanceof Error ? error.message : String(error)
    return unavailable(error instanceof ConfigError ? why : `${control.connect.url}: ${why}`)
  }
}

function unavailable(why: string): ControlAnswer {
  return { kind: 'unavailable', why }
}

/** @throws ConfigError for a file that can't be read */
async function optionsOf({ connect, token }: Control, call: ControlCall): Promise<RequestOptions> {
  const [secret, ca, cert, key] = await Promise.all([
    token && readSecret(token, tokenProblem),
    ...[connect.ca, connect.cert, connect.key].map((file) => file && readPem(file)),
  ])
  const { protocol, hostname, port } = new URL(connect.url)
  return {
    protocol,
    hostname: hostname.replace(/^\[|\]$/g, ''),
    port,
    method: call.method,
    path: call.path,
    // A connection of its own: one that is kept open keeps the command from ending.
    agent: false,
    lookup: lookupBy(NAMES, call.timeoutMs),
    headers: {
      ...(secret && { authorization: `Bearer ${secret.reveal()}` }),
      ...(call.body && { 'content-type': 'application/json' }),
    },
    ...(ca && { ca }),
    ...(cert && key && { cert, key }),
  }
}

async function readPem(file: string): Promise<Buffer> {
  const { bytes } = await readGiven(file).catch((error: unknown) => {
    throw new ConfigError(`${file}: ${whyUnreadable(error)}`, { cause: error })
  })
  return bytes
}

interface Exchanged {
  readonly status: number
  readonly text: string
}

async function exchange(options: RequestOptions, call: ControlCall): Promise<Exchanged> {
  // Loaded here: a command that finds no "control" should not wait for it.
  const { request } = options.protocol === 'https:' ? await import('node:https') : await import('node:http')
  const whole = timeLimit(call.timeoutMs)
  const connecting = new AbortController()
  const timer = setTimeout(() => connecting.abort(), CONNECT_MS)
  const signal = AbortSignal.any([call.signal, whole.signal, connecting.signal])
  try {
    const asked = request({ ...options, signal })
    asked.once('socket', (socket) => {
      socket.once(options.protocol === 'https:' ? 'secureConnect' : 'connect', () => clearTimeout(timer))
    })
    asked.end(call.body === null ? undefined : JSON.stringify(call.body))
    const answer = await answerTo(asked)
    return { status: answer.statusCode ?? 0, text: await textOf(answer) }
  } catch (error) {
    if (call.signal.aborted) throw new Error('interrupted')
    if (whole.signal.aborted) throw new Error(`no answer within ${call.timeoutMs} ms`)
    if (connecting.signal.aborted) throw new Error(`no connection within ${CONNECT_MS} ms`)
    throw error
  } finally {
    whole.clear()
    clearTimeout(timer)
  }
}

function answerTo(asked: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    asked.once('response', resolve)
    // It may come after the answer as well, and must not be unheard then.
    asked.on('error', reject)
  })
}

async function textOf(answer: IncomingMessage): Promise<string> {
  let text = ''
  for await (const piece of answer.setEncoding('utf8')) {
    text += piece
    if (text.length > LONGEST_ANSWER) throw new Error('its answer is too long')
  }
  return text
}
