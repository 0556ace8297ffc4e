import type { HostPort } from '../model/node.ts'
import { statusDocument, statusOf } from '../walk/status.ts'
import { allReady, allTurn, firstLine, loops, readiness } from '../watch/health.ts'
import type { WatchState } from '../watch/state.ts'
import { answer, type Listener, openListener } from './listener.ts'

export interface ServeOptions {
  readonly listen: HostPort
  /** Asked anew at each request. */
  readonly states: () => readonly WatchState[]
  readonly metrics: {
    readonly contentType: string
    text(): Promise<string>
  }
  /** Told, in one line, of a request that failed for a reason of ours. */
  readonly problem: (line: string) => void
}

/**
 * What may be asked of a watcher, read only: `/healthz`, `/readyz`, `/metrics`, `/status`. Nothing here changes
 * anything, and nobody has to say who he is.
 * @throws CitusHaError where nothing can listen there, in one line
 */
export async function serve({ listen, states, metrics, problem }: ServeOptions): Promise<Listener> {
  return await openListener({
    listen,
    problem,
    methods: ['GET', 'HEAD'],
    routes: (app) => {
      app.get('/healthz', async (_, reply) => {
        const now = states()
        const turns = allTurn(now)
        const status = turns ? 'ok' : 'stuck'
        return answer(reply, turns ? 200 : 503, { status, databases: loops(now) })
      })
      app.get('/readyz', async (_, reply) => {
        const now = states()
        const ready = allReady(now)
        const status = ready ? 'ready' : 'not ready'
        return answer(reply, ready ? 200 : 503, { status, databases: readiness(now) })
      })
      app.get('/metrics', async (_, reply) => {
        return reply.type(metrics.contentType).send(await metrics.text())
      })
      app.get('/status', async (_, reply) => {
        const body = statusBody(states())
        return answer(reply, body.databases.length > 0 ? 200 : 503, body)
      })
    },
  })
}

/** As `status --json`, of the last survey of each database, the fences held, and why there is no survey or an old one. */
function statusBody(states: readonly WatchState[]) {
  const views = states.flatMap(({ view }) => (view === null ? [] : [view]))
  const failures = states.flatMap(({ database, view, failure }) => {
    const message = firstLine(failure) ?? (view === null ? 'not surveyed yet' : null)
    return message === null ? [] : [{ database, message }]
  })
  const fences = states.flatMap(({ database, groups }) =>
    groups
      .filter(({ fencedMs }) => fencedMs > 0)
      .map(({ group, fencedMs }) => ({ database, group, leftMs: Math.round(fencedMs) })),
  )
  return { ...statusDocument(views.map((view) => statusOf(view))), fences, failures }
}
