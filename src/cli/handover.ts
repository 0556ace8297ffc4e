import type { Vouching } from '../integrate/obey.ts'
import { formatAddress } from '../model/node.ts'
import type { Report } from '../model/outcome.ts'
import type { EachDatabase } from '../walk/each-database.ts'
import { callWatcher } from './call-watcher.ts'
import type { Session } from './cluster.ts'
import type { Io } from './io.ts'

/** What a watcher needs beyond its own deadline, and the way back, in milliseconds. */
const ANSWERING_MS = 2000

type Failed = EachDatabase<Report>['failed'][number]

/** As `documentOf` makes it, sent by a watcher of this program. */
interface Document {
  readonly exitCode: number
  readonly databases: readonly (Report | Failed)[]
}

/**
 * Has a running watcher do it, which knows the cluster and has its connections open.
 * @param tool whose word it is, for the record
 * @returns null where none is configured or none did: then it is the caller's to do
 */
export async function handOver(
  { config }: Session,
  { node, group, waitUntil, answerBy }: Vouching,
  tool: string,
  io: Io,
  warn: (text: string) => void,
): Promise<EachDatabase<Report> | null> {
  if (config.control === null) return null
  const now = performance.now()
  const leftMs = Math.trunc(answerBy - now)
  const timeoutMs = Math.max(0, leftMs - ANSWERING_MS)
  const waitMs = Math.max(0, Math.min(timeoutMs, Math.trunc(waitUntil - now)))
  const limits = { wait: `${waitMs}ms`, timeout: `${timeoutMs}ms` }
  const promoted = formatAddress(node)
  const answer = await callWatcher(io, config, {
    method: 'POST',
    path: '/v1/reconcile',
    body: { promoted, by: 'tool', tool, ...(group !== null && { group }), ...limits },
    timeoutMs: leftMs,
  })
  if (answer.kind === 'answered' && answer.status === 200) return ranOf(answer.body as Document)
  const why = answer.kind === 'answered' ? `the watcher answers HTTP status ${answer.status}` : answer.why
  warn(`no watcher handled the event (${why}); this command handles it`)
  return null
}

function ranOf({ exitCode, databases }: Document): EachDatabase<Report> {
  const done = databases.filter((each): each is Report => 'outcome' in each)
  return { done, failed: databases.filter((each): each is Failed => !('outcome' in each)), exitCode }
}
