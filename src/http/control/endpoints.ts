import type { z } from 'zod'
import { fenceDocument, releaseDocument } from '../../model/fence.ts'
import type { Order } from '../../walk/order.ts'
import { DEFAULT_WAIT_MS, documentOf } from '../../walk/order.ts'
import type { Asked } from '../../watch/orders.ts'
import type { ControlActions } from './actions.ts'
import { fenceAnswer, historyAnswer, pausedAnswer, releaseAnswer, reportAnswer } from './answers.ts'
import {
  fenceBody,
  fenceGroupBody,
  groupPath,
  historyQuery,
  nothing,
  pauseBody,
  promotedBody,
  reconcileBody,
  releaseBody,
  releaseGroupBody,
  resumeBody,
} from './requests.ts'

/** One thing that can be asked: how, what is answered, and what is done. The routes and the document come from it. */
export interface Endpoint {
  readonly method: 'GET' | 'POST'
  /** As fastify has it, `:group` for a group id. */
  readonly path: string
  readonly id: string
  readonly summary: string
  readonly parameters: z.ZodObject
  readonly query: z.ZodObject
  /** null: there is none. */
  readonly body: z.ZodObject | null
  readonly answer: z.ZodType
  readonly run: (given: Given<z.ZodObject, z.ZodObject, z.ZodObject>, call: Call) => Promise<object>
}

interface Given<Parameters extends z.ZodObject, Query extends z.ZodObject, Body extends z.ZodObject> {
  readonly parameters: z.output<Parameters>
  readonly query: z.output<Query>
  readonly body: z.output<Body>
}

export interface Call {
  readonly actions: ControlActions
  /** Who asks, for the record. */
  readonly caller: string
}

interface Definition<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodObject>
  extends Pick<Endpoint, 'path' | 'id' | 'summary' | 'answer'> {
  readonly parameters?: P
  readonly query?: Q
  readonly body?: B
  readonly run: (given: Given<P, Q, B>, call: Call) => Promise<object>
}

type Nothing = typeof nothing

/** The schemas are what makes `given` what `run` takes: the routes parse with them and with nothing else. */
function endpoint<
  P extends z.ZodObject = Nothing,
  Q extends z.ZodObject = Nothing,
  B extends z.ZodObject = Nothing,
>({ parameters, query, body, run, ...rest }: Definition<P, Q, B>): Endpoint {
  return {
    ...rest,
    method: body ? 'POST' : 'GET',
    parameters: parameters ?? nothing,
    query: query ?? nothing,
    body: body ?? null,
    run: run as unknown as Endpoint['run'],
  }
}

/** Whose word an order is: as `citus-ha event` has it in the record where it is a tool's. */
interface Spoken {
  readonly by?: Order['by']
  readonly tool?: string | undefined
}

function askedOf(database: string | undefined, { caller }: Call, { by, tool }: Spoken = {}): Asked {
  const word = by === 'tool' ? ` event ${tool ?? 'of a tool'}` : ''
  return { database: database ?? null, madeBy: `citus-ha${word} (asked over HTTP by ${caller})` }
}

const NO_ORDER: Order = {
  group: null,
  promoted: null,
  waitMs: DEFAULT_WAIT_MS,
  timeoutMs: null,
  mode: 'apply',
}

interface Fence {
  readonly group: number
  readonly database?: string | undefined
}

async function fence(
  { group, database, ttl }: Fence & { readonly ttl: number },
  { actions }: Call,
): Promise<object> {
  return fenceDocument(await actions.fence({ database: database ?? null, group, ttlMs: ttl }))
}

async function release({ group, database }: Fence, { actions }: Call): Promise<object> {
  return releaseDocument(await actions.release({ database: database ?? null, group }))
}

/** Everything but `/v1/events` and `/v1/openapi.json`, which are no calls. */
export const ENDPOINTS: readonly Endpoint[] = [
  endpoint({
    path: '/v1/reconcile',
    id: 'reconcile',
    summary: 'Detect a completed promotion, and update pg_dist_node on every node.',
    body: reconcileBody,
    answer: reportAnswer,
    run: async ({ body: { database, group, promoted, by, tool, wait, timeout, dryRun } }, call) => {
      const order: Order = {
        group: group ?? null,
        promoted: promoted ?? null,
        by,
        waitMs: wait ?? DEFAULT_WAIT_MS,
        timeoutMs: timeout ?? null,
        mode: dryRun ? 'dry-run' : 'apply',
      }
      return documentOf(await call.actions.reconcile(order, askedOf(database, call, { by, tool })))
    },
  }),
  endpoint({
    path: '/v1/groups/:group/promoted',
    id: 'promoted',
    summary: 'The same for one group, whose new primary the caller names.',
    parameters: groupPath,
    body: promotedBody,
    answer: reportAnswer,
    run: async ({ parameters: { group }, body }, call) => {
      const { node, by, tool, database, wait, timeout } = body
      const given = {
        group,
        promoted: node,
        by,
        waitMs: wait ?? DEFAULT_WAIT_MS,
        timeoutMs: timeout ?? null,
      }
      const asked = askedOf(database, call, { by, tool })
      return documentOf(await call.actions.reconcile({ ...NO_ORDER, ...given }, asked))
    },
  }),
  endpoint({
    path: '/v1/groups/:group/fence',
    id: 'fenceOfGroup',
    summary: 'Hold the writes to the group until it is released or changed, or the time is over.',
    parameters: groupPath,
    body: fenceBody,
    answer: fenceAnswer,
    run: ({ parameters, body }, call) => fence({ ...parameters, ...body }, call),
  }),
  endpoint({
    path: '/v1/groups/:group/release',
    id: 'releaseOfGroup',
    summary: 'Release the writes that a fence holds.',
    parameters: groupPath,
    body: releaseBody,
    answer: releaseAnswer,
    run: ({ parameters, body }, call) => release({ ...parameters, ...body }, call),
  }),
  endpoint({
    path: '/v1/fence',
    id: 'fence',
    summary: 'As /v1/groups/{group}/fence.',
    body: fenceGroupBody,
    answer: fenceAnswer,
    run: ({ body }, call) => fence(body, call),
  }),
  endpoint({
    path: '/v1/release',
    id: 'release',
    summary: 'As /v1/groups/{group}/release.',
    body: releaseGroupBody,
    answer: releaseAnswer,
    run: ({ body }, call) => release(body, call),
  }),
  endpoint({
    path: '/v1/pause',
    id: 'pause',
    summary: 'Stop watchers from changing anything by themselves, in the whole cluster or in one group.',
    body: pauseBody,
    answer: pausedAnswer,
    run: async ({ body: { database, group, reason } }, call) => {
      const order = { kind: 'pause', group: group ?? null, why: reason ?? null } as const
      return { databases: await call.actions.pause(order, askedOf(database, call)) }
    },
  }),
  endpoint({
    path: '/v1/resume',
    id: 'resume',
    summary: 'End a pause.',
    body: resumeBody,
    answer: pausedAnswer,
    run: async ({ body: { database, group } }, call) => {
      const order = { kind: 'resume', group: group ?? null } as const
      return { databases: await call.actions.pause(order, askedOf(database, call)) }
    },
  }),
  endpoint({
    path: '/v1/history',
    id: 'history',
    summary: 'The changes that were committed, newest first.',
    query: historyQuery,
    answer: historyAnswer,
    run: async ({ query: { database, limit } }, call) => {
      return { changes: await call.actions.history(limit ?? 20, askedOf(database, call)) }
    },
  }),
]
