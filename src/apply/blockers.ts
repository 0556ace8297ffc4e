import { z } from 'zod'
import { messageOf } from '../db/sqlstate.ts'
import type { Blocker, ClientTexts } from '../model/blocker.ts'
import { formatAddress, type HostPort } from '../model/node.ts'

const blockers = z.array(
  z.object({
    pid: z.number().int(),
    database: z.string().nullable().default(null),
    user: z.string().nullable(),
    application: z.string().nullable(),
    state: z.string().nullable(),
    ageMs: z.number().nullable(),
    statement: z.string().nullable(),
    client: z.object({ node: z.string(), pid: z.number() }).nullable(),
    ours: z.boolean(),
  }),
)

/** As `citus_ha.blockers` gives them. */
export function readBlockers(node: HostPort, value: unknown, texts: ClientTexts): Blocker[] {
  return blockers.parse(value).map((blocker) => {
    return { node, ...blocker, statement: texts === 'shown' ? blocker.statement : null }
  })
}

/** One blocker in one line, for people. */
export function describeBlocker(blocker: Blocker): string {
  const { pid, user, application, state, ageMs, statement, client } = blocker
  const node = formatAddress(blocker.node)
  const where = blocker.database === null ? '' : `, database ${blocker.database}`
  if (pid === 0)
    return `${node}${where}: a prepared transaction${statement ? ` '${statement}'` : ''}; citus-ha leaves it alone (see pg_prepared_xacts)`
  const works = client ? `, for pid ${client.pid} on ${client.node}` : ''
  const age = ageMs === null ? '' : `, open for ${(ageMs / 1000).toFixed(1)} s`
  const said = statement ? `: ${statement.replace(/\s+/g, ' ').slice(0, 80)}` : ''
  return `${node}${where}: pid ${pid}, ${user ?? '?'}, ${application || 'no application name'}${works}, ${state ?? '?'}${age}${said}`
}

/** How long of a lock's time limit passes before it is asked who is in the way. */
const PATIENCE = 0.25

export interface Watch {
  /** Asks, on another connection, who keeps this session from its lock. */
  readonly ask: (node: HostPort, pid: number) => Promise<Blocker[]>
  /** Ends them where that is allowed now, and says whom; null where it is not. */
  readonly end: ((node: HostPort, pid: number) => Promise<Blocker[]>) | null
  /** Everybody seen in the way, and everybody ended, during one change. */
  readonly seen: Blocker[]
  readonly ended: Blocker[]
  /** Where it could not be asked, or nobody be ended, and why. */
  readonly unasked: string[]
  /** Questions on their way: to be awaited when nothing is locked any more, since a node that hangs lets them wait. */
  readonly asked: Promise<void>[]
}

/** Does something that waits for locks; if it waits long, finds out for whom, and ends them where allowed. */
export async function watched<T>(
  watch: Watch,
  node: HostPort,
  pid: number,
  lockTimeoutMs: number,
  work: () => Promise<T>,
): Promise<T> {
  const timer = setTimeout(() => {
    watch.asked.push(lookWho(watch, node, pid))
  }, lockTimeoutMs * PATIENCE)
  try {
    return await work()
  } finally {
    clearTimeout(timer)
  }
}

/** Knowing who it was is a service to people; the change itself goes by the lock's own answer. */
async function lookWho(watch: Watch, node: HostPort, pid: number): Promise<void> {
  const noting = (what: string) => (error: unknown) => {
    watch.unasked.push(
      `${formatAddress(node)}: the blocking sessions could not be ${what}: ${messageOf(error)}`,
    )
    return []
  }
  watch.seen.push(...(await watch.ask(node, pid).catch(noting('asked'))))
  if (watch.end) watch.ended.push(...(await watch.end(node, pid).catch(noting('ended'))))
}
