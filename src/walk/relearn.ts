import { proofText } from '../apply/decision.ts'
import { BEGIN, TAKE_CHANGE_LOCK } from '../apply/statements.ts'
import type { SessionLike } from '../db/pg.ts'
import { jsonLiteral, literal } from '../db/sql.ts'
import { messageOf } from '../db/sqlstate.ts'
import { COORDINATOR_GROUP } from '../model/catalog.ts'
import { CitusHaError } from '../model/failure.ts'
import { formatAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { type Relearning, relearning } from '../plan/relearn.ts'
import type { Access } from './access.ts'
import { requireCoordinator } from './checks.ts'
import type { Clock } from './clock.ts'
import { openForRows } from './coordinator-session.ts'
import { installOne } from './install.ts'
import { observe } from './look.ts'
import type { WalkRequest } from './walk-request.ts'

const LIMIT_MS = 10_000
/** A program that stands still lets others in after that. */
const IDLE_MS = 30_000

/** What would be learnt anew in one database. @throws CitusHaError where there is no coordinator, or there are two */
export async function lookToRelearn(access: Access, request: WalkRequest, clock: Clock): Promise<Relearning> {
  const seen = await observe(access, request, clock)
  return relearning(seen, requireCoordinator(seen))
}

/**
 * Writes it down on every node, the coordinator last, which keeps changes out until then. What is there is looked at again once
 * none can be made any more: whoever was asked may have thought about it for long. Each node is a transaction of its
 * own: where one fails, what is on record of the coordinator stays, and the same command does all of it again.
 * @throws CitusHaError `blocked`, with the node
 */
export async function relearn(
  access: Access,
  request: WalkRequest,
  agreed: Relearning,
  clock: Clock,
): Promise<void> {
  const [coordinator, ...others] = [...agreed.nodes].reverse()
  if (!coordinator) throw new Error('relearn without a coordinator')
  // Functions of ours may be older than this program there: no other command would install on servers it does not know.
  for (const node of agreed.nodes) {
    const order = { role: null, switchover: 'leave', allowed: [] } as const
    await naming(node, () => installOne(access, request.database, node, order))
  }
  const sessions: SessionLike[] = []
  const at = async (node: Answered, sql: string): Promise<void> => {
    const session = await openForRows(access, request, node)
    sessions.push(session)
    await session.run(sql, LIMIT_MS)
  }
  try {
    // It waits for each of the others, which may be many.
    const wait = `SET LOCAL idle_in_transaction_session_timeout = ${IDLE_MS}`
    await naming(coordinator, () => at(coordinator, `${BEGIN}; ${wait}; ${TAKE_CHANGE_LOCK}`))
    const [holder] = sessions
    const now = await lookToRelearn(access, request, clock)
    requireSame(agreed, now)
    const timeline = now.lines.find(({ group }) => group === COORDINATOR_GROUP)?.timeline ?? 1
    const learnt = jsonLiteral({ lines: now.lines.map(proofText), timeline, epoch: now.epoch })
    await request.hooks.reached('looked again')
    for (const node of others) {
      await naming(coordinator, async () => holder?.run('SELECT 1', LIMIT_MS))
      await naming(node, () => at(node, `${BEGIN}; SELECT citus_ha.relearn(${learnt}); COMMIT`))
    }
    const record = [learnt, jsonLiteral(now.changes), literal(request.madeBy)].join(', ')
    await naming(coordinator, async () =>
      holder?.run(`SELECT citus_ha.relearn_coordinator(${record}); COMMIT`, LIMIT_MS),
    )
  } finally {
    await Promise.all(sessions.map((session) => session.close()))
  }
}

/** @throws CitusHaError `blocked` */
function requireSame(agreed: Relearning, now: Relearning): void {
  const told = ({ lines, nodes }: Relearning) =>
    JSON.stringify([lines, nodes.map(({ instance }) => instance)])
  if (now.refusals.length === 0 && told(now) === told(agreed)) return
  const why = now.refusals.length > 0 ? `: ${now.refusals.join('; ')}` : ''
  throw new CitusHaError(
    'blocked',
    `the servers have changed since they were surveyed${why}: nothing was changed; run the same command again`,
  )
}

async function naming<Result>({ address }: Answered, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    // It says by itself what is to be done, and that another try mends nothing.
    if (error instanceof CitusHaError) throw error
    const why = `${formatAddress(address)}: ${messageOf(error)}: not every server was recorded; run the same command again`
    throw new CitusHaError('blocked', why, { cause: error })
  }
}
