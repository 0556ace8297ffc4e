import type { RequestListener, Server, ServerOptions } from 'node:http'
import type { ServerOptions as TlsOptions } from 'node:https'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { redact } from '../config/redact.ts'
import { CitusHaError } from '../model/failure.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import { Places } from './places.ts'

/** An address at which requests are answered. */
export interface Listener {
  /** Where it really listens: the port the system chose, where it was left to it. */
  readonly address: HostPort
  /** Ends every connection, and returns when they are gone. */
  close(): Promise<void>
}

export interface ListenerOptions {
  readonly listen: HostPort
  /** All others are answered with 405 before anything of a body is read. */
  readonly methods: readonly string[]
  /** Adds what is answered here. Each listener has routes, and a guard, of its own. */
  readonly routes: (app: FastifyInstance) => void | Promise<void>
  /** Asked first of every request, whatever its method and path; what it gives is all that is answered. */
  readonly guard?: (request: FastifyRequest) => Promise<Refusal | null>
  /** HTTPS; else plain HTTP. */
  readonly tls?: TlsMaterial
  /** How long an answer to somebody whom the guard let in may be silent, in milliseconds; 0: for ever. */
  readonly silenceMs?: number
  /** Told, in one line, of a request that failed for a reason of ours. */
  readonly problem: (line: string) => void
}

/** Why a request is not even looked at. */
export interface Refusal {
  readonly status: number
  readonly error: string
  readonly headers: Readonly<Record<string, string>>
}

/** PEM. */
export interface TlsMaterial {
  readonly cert: Buffer
  readonly key: Buffer
  /** Nobody gets in without a certificate that one of these has signed; null: everybody does. */
  readonly clientCa: Buffer | null
}

/** A scraper is quick; whoever is slow holds one of a few connections, for this long at most. Milliseconds. */
const REQUEST_MS = 10_000
/** From the connection, or the end of its TLS handshake, to the end of a request's headers. */
const HEADERS_MS = 5_000
/** Node looks for those that are late this often; without it every 30 s. */
const LATE_EVERY_MS = 1_000
const IDLE_MS = 75_000
const HANDSHAKE_MS = 5_000
const BODY_BYTES = 16 * 1024
/** Of whom nobody knows who they are; and of whom the guard has let in. */
const STRANGERS = 100
const FRIENDS = 100

const JSON_TYPE = 'application/json; charset=utf-8'

/** Of every answer, where a route says nothing else. */
const SAFE = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
}

/** @throws CitusHaError where nothing can listen there, in one line */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const { listen, methods, routes, guard, problem } = options
  // Loaded here: only a watcher that is asked for HTTP should pay for it.
  const [{ fastify }, { createServer, STATUS_CODES }, tls] = await Promise.all([
    import('fastify'),
    import('node:http'),
    options.tls ? import('node:https') : null,
  ])
  const places = new Places({ strangers: STRANGERS, friends: FRIENDS })
  const newServer = (handle: RequestListener): Server => {
    const handler: RequestListener = (request, response) => {
      const { socket } = request
      if (!places.asks(socket)) return void socket.destroy()
      response.once('close', () => places.answered(socket))
      handle(request, response)
    }
    const secure =
      options.tls && tls ? tls.createServer({ ...TIMES, ...secured(options.tls) }, handler) : null
    const server = secure ?? createServer(TIMES, handler)
    // Node itself would refuse such a request, without a word. Whatever it expects, it is answered.
    server.on('checkExpectation', handler)
    server.setTimeout(REQUEST_MS)
    places.follow(server)
    return server
  }
  const malformed = async (request: FastifyRequest, reply: FastifyReply) => {
    refuse(
      reply.headers(SAFE),
      (await guard?.(request)) ?? { status: 400, error: 'bad request', headers: {} },
    )
  }
  const app = fastify({
    logger: false,
    bodyLimit: BODY_BYTES,
    forceCloseConnections: true,
    frameworkErrors: (_, request, reply) => void malformed(request, reply),
    clientErrorHandler: ({ code = '' }, socket) => {
      if (socket.writable) {
        const [status, error] = UNREADABLE[code] ?? [400, 'this is not an HTTP request']
        const body = textOf({ error })
        const headers = {
          ...SAFE,
          'content-type': JSON_TYPE,
          'content-length': Buffer.byteLength(body),
          connection: 'close',
        }
        const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
        socket.write([`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...lines, '', body].join('\r\n'))
      }
      socket.destroy()
    },
    serverFactory: newServer,
  }) as unknown as FastifyInstance
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(SAFE)
    const refusal = (await guard?.(request)) ?? null
    const isFriend = guard !== undefined && refusal === null
    places.is(request.raw.socket, isFriend ? 'friend' : 'stranger')
    if (isFriend) request.raw.socket.setTimeout(options.silenceMs ?? REQUEST_MS)
    if (refusal) return refuse(reply, refusal)
    if (request.headers.host === undefined && request.raw.httpVersion === '1.1')
      return say(reply.header('connection', 'close'), 400, 'the header host is missing')
    if (methods.includes(request.method)) return
    reply.header('allow', methods.join(', '))
    return say(reply, 405, 'method not allowed')
  })
  app.setNotFoundHandler(async (_, reply) => say(reply, 404, 'not found'))
  app.setErrorHandler<Error & { statusCode?: number; code?: string }>(async (error, request, reply) => {
    const status = error.statusCode ?? 500
    if (status < 500) return say(reply, status, UNFIT[error.code ?? ''] ?? error.message)
    problem(`${request.method} ${request.routeOptions.url ?? '?'}: ${redact(error.message)}`)
    return say(reply, 500, 'internal error')
  })
  try {
    await routes(app)
    // After those of the routes. Node itself would leave those that are still in a TLS handshake.
    app.addHook('preClose', async () => places.close())
    await app.listen({ host: listen.host, port: listen.port })
  } catch (error) {
    await app.close()
    throw new CitusHaError(
      'configuration',
      `HTTP cannot listen on ${formatAddress(listen)}: ${whyNot(error)}`,
      {
        cause: error,
      },
    )
  }
  return { address: { host: listen.host, port: portOf(app) }, close: async () => await app.close() }
}

/** What is wrong with a request’s body, by the code of the framework’s error. */
const UNFIT: Readonly<Record<string, string>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: 'the body is not JSON',
  FST_ERR_CTP_BODY_TOO_LARGE: `the body is longer than ${BODY_BYTES} bytes`,
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'the content type must be application/json',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'the body is not as long as the header content-length says',
}

/** What never becomes a request, by the code of Node’s error. */
const UNREADABLE: Readonly<Record<string, readonly [status: number, error: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'the request line and its headers are too long'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'the request was not complete in time'],
}

/** A request that is not carried out, with the status and the line that answer it. */
export class RefusedRequest extends Error {
  readonly statusCode: number

  constructor(statusCode: number, message: string) {
    super(message)
    this.statusCode = statusCode
  }
}

const TIMES: ServerOptions = {
  requireHostHeader: false,
  headersTimeout: HEADERS_MS,
  requestTimeout: REQUEST_MS,
  keepAliveTimeout: IDLE_MS,
  connectionsCheckingInterval: LATE_EVERY_MS,
}

function secured({ cert, key, clientCa }: TlsMaterial): TlsOptions {
  const asked = clientCa && { ca: clientCa, requestCert: true, rejectUnauthorized: true }
  return { cert, key, minVersion: 'TLSv1.2', handshakeTimeout: HANDSHAKE_MS, ...asked }
}

/** @param body one JSON document, or its text */
export function answer(reply: FastifyReply, status: number, body: object | string): FastifyReply {
  return reply
    .code(status)
    .type(JSON_TYPE)
    .send(typeof body === 'string' ? body : textOf(body))
}

/** A JSON document, laid out for people too. */
export function textOf(body: object): string {
  return `${JSON.stringify(body, null, 2)}\n`
}

function say(reply: FastifyReply, status: number, error: string): FastifyReply {
  return answer(reply, status, { error })
}

function refuse(reply: FastifyReply, { status, error, headers }: Refusal): FastifyReply {
  return say(reply.headers(headers), status, error)
}

function portOf(app: FastifyInstance): number {
  const bound = app.server.address()
  return typeof bound === 'object' && bound !== null ? bound.port : 0
}

const LISTENING: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is in use',
  EACCES: 'permission denied',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the host name cannot be resolved now',
}

function whyNot(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return LISTENING[code ?? ''] ?? message
}
