import { createSecureContext } from 'node:tls'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Control, type ControlTls, tokenProblem } from '../../config/control.ts'
import { readGiven, whyUnreadable } from '../../config/read-file.ts'
import { readSecret } from '../../config/secret-file.ts'
import { CitusHaError } from '../../model/failure.ts'
import type { HostPort } from '../../model/node.ts'
import type { WatchEvent } from '../../watch/event.ts'
import { answer, type Listener, openListener, RefusedRequest, type TlsMaterial } from '../listener.ts'
import type { ControlActions } from './actions.ts'
import { ENDPOINTS, type Endpoint } from './endpoints.ts'
import { failedOrder } from './failures.ts'
import { callerOf, guardBy } from './guard.ts'
import { openApi } from './openapi.ts'
import { nothing, read, repeatedField } from './requests.ts'
import { ControlStreams } from './streams.ts'

export interface ControlOptions {
  readonly control: Control & { readonly listen: HostPort }
  /** Asked anew at each request; null while nothing is watched. */
  readonly actions: () => ControlActions | null
  /** Of citus-ha. */
  readonly version: string
  /** Told of each order, in one line, when it is done. */
  readonly done: (line: string) => void
  /** Told, in one line, of what is wrong on our side. */
  readonly problem: (line: string) => void
}

/** Where orders are taken. */
export interface ControlListener extends Listener {
  /** Passes an event on to whoever listens to `/v1/events`. */
  told(event: WatchEvent): void
}

/** Calls from one address within a minute. */
const CALLS_A_MINUTE = 240

/**
 * Takes orders from whoever shows the token or a client certificate; nothing but 401 is told to anybody else.
 * @throws CitusHaError or ConfigError where nothing can listen there, or a file is no good, in one line
 */
export async function serveControl(options: ControlOptions): Promise<ControlListener> {
  const { control, problem } = options
  const streams = new ControlStreams()
  const tls = await readFiles(control)
  const { fastifyRateLimit } = await import('@fastify/rate-limit')
  const listener = await openListener({
    listen: control.listen,
    problem,
    methods: ['GET', 'POST'],
    guard: guardBy(control.token, problem),
    // A walk may take its time before there is anything to answer.
    silenceMs: 0,
    ...(tls && { tls }),
    routes: async (app) => {
      await app.register(fastifyRateLimit, {
        max: CALLS_A_MINUTE,
        timeWindow: '1 minute',
        errorResponseBuilder: (_, { after }) =>
          new RefusedRequest(
            429,
            `more than ${CALLS_A_MINUTE} calls within a minute: call again in ${after}`,
          ),
      })
      takeJsonAlone(app)
      for (const endpoint of ENDPOINTS) addEndpoint(app, endpoint, options)
      addOthers(app, options, streams)
    },
  })
  return { ...listener, told: (event) => streams.told(event) }
}

/**
 * Reads every file that a listener needs.
 * @throws CitusHaError or ConfigError for one that is no good, in one line
 */
export async function readFiles({ token, tls }: Control): Promise<TlsMaterial | null> {
  if (token) await readSecret(token, tokenProblem)
  return tls && (await readTls(tls))
}

/** @throws CitusHaError in one line */
async function readTls({ cert, key, clientCa }: ControlTls): Promise<TlsMaterial> {
  // One after the other: the first that is missing is named, the same one each time.
  const certificate = await readPem('cert', cert)
  const privateKey = await readPem('key', key)
  const authority = clientCa === null ? null : await readPem('clientCa', clientCa)
  try {
    createSecureContext({ cert: certificate, key: privateKey, ...(authority && { ca: authority }) })
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new CitusHaError('configuration', `control.tls: ${cert} and ${key} cannot be used: ${why}`, {
      cause: error,
    })
  }
  return { cert: certificate, key: privateKey, clientCa: authority }
}

async function readPem(name: string, file: string): Promise<Buffer> {
  const { bytes } = await readGiven(file).catch((error: unknown) => {
    const why = whyUnreadable(error)
    throw new CitusHaError('configuration', `control.tls.${name}: ${file}: ${why}`, { cause: error })
  })
  return bytes
}

/** No other content type, so that no form of a browser is taken for an order; nothing at all is `{}`. */
function takeJsonAlone(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    const text = String(body)
    if (text === '') return done(null, {})
    void parse(request, text, (error, value) => {
      const repeated = error ? null : repeatedField(text)
      if (repeated === null) return done(error, value)
      const name = JSON.stringify(repeated).slice(0, 66)
      done(new RefusedRequest(400, `field ${name} is given twice`))
    })
  })
}

function addEndpoint(app: FastifyInstance, endpoint: Endpoint, options: ControlOptions): void {
  const { method, path, parameters, query, body, run } = endpoint
  const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const caller = callerOf(request)
    const { status, document } = await outcomeOf(async () => {
      const actions = options.actions()
      if (actions === null) throw new CitusHaError('no-coordinator', 'no database is watched yet')
      const given = {
        parameters: read(parameters, request.params),
        query: read(query, request.query),
        body: read(body ?? nothing, request.body === undefined ? {} : request.body),
      }
      return await run(given, { actions, caller })
    })
    const gone = reply.raw.destroyed ? ', but the client has disconnected' : ''
    const line = `${method} ${request.url} from ${caller}: ${wordOf(status, document)}${gone}`
    if (status === 500) options.problem(line)
    else options.done(line)
    return answer(reply, status, document)
  }
  app.route({ method, url: path, handler })
}

interface Outcome {
  readonly status: number
  readonly document: object
}

async function outcomeOf(work: () => Promise<object>): Promise<Outcome> {
  try {
    return { status: 200, document: await work() }
  } catch (error) {
    const { status, body } = failedOrder(error)
    return { status, document: body }
  }
}

/** What came of it, for the log. */
function wordOf(status: number, document: object): string {
  if ('error' in document) return `${status}: ${document.error}`
  return 'outcome' in document ? String(document.outcome) : 'done'
}

function addOthers(app: FastifyInstance, { version }: ControlOptions, streams: ControlStreams): void {
  const document = openApi(version)
  app.get('/v1/openapi.json', async (_, reply) => answer(reply, 200, document))
  app.get('/v1/events', async (_, reply) => {
    if (streams.isFull) return answer(reply, 503, { error: 'too many clients are connected already' })
    reply.hijack()
    streams.add(reply.raw)
  })
  app.addHook('preClose', async () => streams.close())
}
