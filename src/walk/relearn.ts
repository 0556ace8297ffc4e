import { proofText } from '../apply/decision.ts'
import { BEGIN, TAKE_CHANGE_LOCK } from '../apply/statements.ts'
import type { SessionLike } from '../db/pg.ts'
import { jsonLiteral, literal } from '../db/sql.ts'
import { messageOf } from '../db/sqlstate.ts'
import { CitusHaError } from '../model/failure.ts'
import { formatAddress } from '../model/node.ts'
import { type Relearning, relearning } from '../plan/relearn.ts'
import type { Access } from './access.ts'
import { requireCoordinator } from './checks.ts'
import type { Clock } from './clock.ts'
import { openForRows } from './coordinator-session.ts'
import { installOne } from './install.ts'
import { observe } from './look.ts'
import type { WalkRequest } from './walk.ts'

const LIMIT_MS = 10_000

/** What would be learnt anew in one database. @throws CitusHaError where there is no coordinator, or there are two */
export async function lookToRelearn(access: Access, request: WalkRequest, clock: Clock): Promise<Relearning> {
  const seen = await observe(access, request, clock)
  return relearning(seen, requireCoordinator(seen))
}

/**
 * Writes it down on every node, the coordinator last, which keeps changes out until then. Each node is a transaction of its
 * own: where one fails, what is on record of the coordinator stays, and the same command does all of it again.
 * @throws CitusHaError `blocked`, with the node
 */
export async function relearn(access: Access, request: WalkRequest, learning: Relearning): Promise<void> {
  const { lines, nodes, epoch, changes } = learning
  // Functions of ours may be older than this program there: no other command would install on servers it does not know.
  for (const node of nodes)
    await installOne(access, request.database, node, { role: null, switchover: 'leave', allowed: [] })
  const timeline = lines.find(({ group }) => group === 0)?.timeline ?? 1
  const learnt = jsonLiteral({ lines: lines.map(proofText), timeline, epoch })
  const [coordinator, ...others] = [...nodes].reverse()
  if (!coordinator) throw new Error('there is nobody who could learn')
  const sessions: SessionLike[] = []
  const at = async (node: (typeof nodes)[number], sql: string): Promise<void> => {
    try {
      const session = await openForRows(access, request, node)
      sessions.push(session)
      await session.run(sql, LIMIT_MS)
    } catch (error) {
      const why = `${formatAddress(node.address)}: ${messageOf(error)}: nothing is learnt yet; give the same command again`
      throw new CitusHaError('blocked', why, { cause: error })
    }
  }
  try {
    await at(coordinator, `${BEGIN}; ${TAKE_CHANGE_LOCK}`)
    for (const node of others) await at(node, `${BEGIN}; SELECT citus_ha.relearn(${learnt}); COMMIT`)
    const record = [learnt, jsonLiteral(changes), literal(request.madeBy)].join(', ')
    await sessions[0]?.run(`SELECT citus_ha.relearn_coordinator(${record}); COMMIT`, LIMIT_MS)
  } finally {
    await Promise.all(sessions.map((session) => session.close()))
  }
}
