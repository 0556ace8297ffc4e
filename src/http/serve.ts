import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type HostPort, sameAddress } from '../model/node.ts'
import type { View } from '../walk/look.ts'
import { type Status, statusDocument, statusOf } from '../walk/status.ts'
import type { WatchEvent } from '../watch/event.ts'
import { allReady, allTurn, firstLine, loops, readiness } from '../watch/health.ts'
import type { WatchState } from '../watch/state.ts'
import { answer, type Listener, openListener, textOf } from './listener.ts'
import { PAGE_PATHS, type Page } from './page.ts'

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

/** Where a watcher tells what it knows. */
export interface WatchListener extends Listener {
  /** Shows this page from now on; null: none. The one that was shown before ends its streams. */
  show(page: Page | null): void
  /** Passes an event on to whoever looks at the page. */
  told(event: WatchEvent): void
}

/**
 * What may be asked of a watcher, read only: `/healthz`, `/readyz`, `/metrics`, `/status`, and the page where there is one.
 * Nothing here changes anything, and nobody has to say who he is.
 * @throws CitusHaError where nothing can listen there, in one line
 */
export async function serve({ listen, states, metrics, problem }: ServeOptions): Promise<WatchListener> {
  let page: Page | null = null
  const documents = new StatusDocuments()
  /** Without a page, `/status` is answered under any name, as ever. */
  const guarded = {
    onRequest: async (request: FastifyRequest, reply: FastifyReply) => {
      if (page?.refuses(request, reply)) return reply
    },
  }
  const listener = await openListener({
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
      app.get('/status', guarded, async (request, reply) => {
        const { status, tag, text } = documents.of(states())
        reply.header('etag', tag)
        if (request.headers['if-none-match'] === tag) return reply.code(304).send()
        return answer(reply, status, text)
      })
      for (const path of PAGE_PATHS) {
        app.get(path, guarded, async (_, reply) => page?.file(path, reply) ?? reply.callNotFound())
      }
      app.get('/events', guarded, async (request, reply) => {
        if (page === null) return reply.callNotFound()
        if (request.method === 'HEAD') return reply.type('text/event-stream; charset=utf-8').send()
        page.stream(request, reply)
      })
      app.addHook('preClose', async () => page?.close())
    },
  })
  return {
    ...listener,
    told: (event) => page?.told(event, (database, node) => groupIn(states(), database, node)),
    show: (next) => {
      if (page !== next) page?.close()
      page = next
    },
  }
}

/** By the last survey. */
function groupIn(states: readonly WatchState[], database: string, node: HostPort): number | null {
  const view = states.find((state) => state.database === database)?.view
  const row = view?.coordinator.citus?.catalog.find(({ address }) => sameAddress(address, node))
  if (row) return row.group
  const seen = view?.survey.nodes.find(({ address }) => sameAddress(address, node))
  return seen?.kind === 'answered' ? (seen.citus?.localGroup ?? null) : null
}

/** As `status --json`, of the last survey of each database, the fences held, and why there is no survey or an old one. */
export type StatusBody = ReturnType<typeof statusBody>

function statusBody(states: readonly WatchState[], statuses: readonly Status[]) {
  const failures = states.flatMap(({ database, view, failure }) => {
    const message = firstLine(failure) ?? (view === null ? 'not surveyed yet' : null)
    return message === null ? [] : [{ database, message }]
  })
  const fences = states.flatMap(({ database, groups }) =>
    groups
      .filter(({ fencedMs }) => fencedMs > 0)
      .map(({ group, fencedMs }) => ({ database, group, leftMs: Math.round(fencedMs) })),
  )
  return { ...statusDocument(statuses), fences, failures }
}

/** Of a large cluster the document is long, and asked for every few seconds: what has not changed is not made anew. */
class StatusDocuments {
  readonly #statuses = new WeakMap<View, Status>()
  #last: { readonly views: readonly View[]; readonly beside: string; readonly made: Made } | null = null

  of(states: readonly WatchState[]): Made {
    const views = states.flatMap(({ view }) => (view === null ? [] : [view]))
    const { fences, failures } = statusBody(states, [])
    const beside = JSON.stringify([fences, failures])
    const last = this.#last
    const isSame = last?.beside === beside && sameItems(last.views, views)
    if (isSame) return last.made
    const body = statusBody(
      states,
      views.map((view) => this.#statusOf(view)),
    )
    const text = textOf(body)
    const tag = `"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"`
    const made = { status: views.length > 0 ? 200 : 503, text, tag }
    this.#last = { views, beside, made }
    return made
  }

  #statusOf(view: View): Status {
    const known = this.#statuses.get(view)
    if (known) return known
    const status = statusOf(view)
    this.#statuses.set(view, status)
    return status
  }
}

interface Made {
  readonly status: number
  readonly text: string
  readonly tag: string
}

function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((each, i) => each === b[i])
}
