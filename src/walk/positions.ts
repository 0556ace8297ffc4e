import { historyText, proofText } from '../apply/decision.ts'
import { BEGIN, lockSql, recordLineageSql, recordPositionsSql } from '../apply/statements.ts'
import { messageOf } from '../db/sqlstate.ts'
import { COORDINATOR_GROUP } from '../model/catalog.ts'
import { isOlderThan } from '../model/known.ts'
import { holds, pointOf } from '../model/line.ts'
import { formatAddress, sameAddress } from '../model/node.ts'
import type { Answered, Lineage, LineProof } from '../model/observation.ts'
import { distinctServers } from '../model/servers.ts'
import type { Access } from './access.ts'
import { ownNodes } from './install.ts'
import type { View } from './look.ts'
import type { WalkRequest } from './walk-request.ts'

const LIMIT_MS = 2000
/** Whoever holds the row is a change, or writes the same: not waited for. */
const LOCK_MS = 100
/** How old what is on record may become where there is something newer to write, in milliseconds. */
const RENEWED_MS = 30_000

/** What a server was seen to have, of a line that was proved. */
interface Seen extends Lineage {
  readonly node: Answered
}

/**
 * Writes down how far the servers of the groups that are well were seen to be: on the coordinator, and of group 0 on every
 * other node that takes part in changes, which a backup of the coordinator can't rewrite. Every `RENEWED_MS` at the most,
 * so a lower bound. What fails now is done at the next look.
 */
export async function recordPositions(access: Access, request: WalkRequest, view: View): Promise<void> {
  if (request.mode !== 'apply') return
  const { coordinator, plan } = view
  const seen = seenOf(view)
  const first = isGivingUp(coordinator) ? [] : [{ node: coordinator, seen, line: null }]
  const ofCoordinators = seen.filter(({ group }) => group === COORDINATOR_GROUP)
  const others = distinctServers([...ownNodes(view), ...(plan.leader?.vouched ? membersOf(view) : [])])
    .filter((node) => node.instance !== coordinator.instance && !isGivingUp(node))
    .map((node) => ({ node, seen: ofCoordinators, line: plan.leader }))
  await Promise.all(
    [...first, ...others]
      .filter(
        ({ node }) => (node.installed?.migration ?? 0) >= access.migration && node.installed?.mayExecute,
      )
      .map(async ({ node, seen: all, line }) => {
        const news = all.filter((each) => isNews(node, each))
        const isNewLine = line !== null && !isOnRecord(node, line)
        if (news.length === 0 && !isNewLine) return
        const sql = [
          `SET synchronous_commit = local; SET lock_timeout = ${LOCK_MS}; SET statement_timeout = ${LIMIT_MS}`,
          BEGIN,
          ...(isNewLine ? recordLine(line) : []),
          ...(news.length > 0 ? [recordPositionsSql(news.map(positionText))] : []),
          'COMMIT',
        ]
        await write(access, request, node, sql.join('; '))
      }),
  )
}

/** A switchover promotes another in its place: what is written down there meanwhile is not replayed, or is waited for. */
function isGivingUp({ citus, installed }: Answered): boolean {
  return installed?.intents.some(({ group }) => group === citus?.localGroup) === true
}

/** What a person vouched for may contradict what is there: that takes the copy's lock. */
function recordLine(line: LineProof): string[] {
  const record = recordLineageSql([proofText(line)])
  return line.vouched ? [lockSql([]), record] : [record]
}

/**
 * Workers that take writes, by their identity alone: what one has on record may speak against the coordinator that a person vouches
 * for, and its own group be refused until he vouches for it too. One word at a time has to come to an end.
 */
function membersOf({ survey, coordinator }: View): Answered[] {
  const lines = (coordinator.installed?.lineage ?? []).filter(({ group }) => group !== COORDINATOR_GROUP)
  return survey.nodes.filter(
    (node): node is Answered =>
      node.kind === 'answered' &&
      !node.inRecovery &&
      lines.some(
        ({ group, systemIdentifier }) =>
          group === node.citus?.localGroup && systemIdentifier === node.systemIdentifier,
      ),
  )
}

async function write(
  access: Access,
  request: WalkRequest,
  { address }: Answered,
  sql: string,
): Promise<void> {
  let session: Awaited<ReturnType<Access['open']>> | undefined
  try {
    session = await access.open(address, request.database)
    await session.run(sql, LIMIT_MS)
  } catch (error) {
    request.progress(
      `${formatAddress(address)}: the WAL positions of the servers could not be recorded: ${messageOf(error)}`,
    )
  } finally {
    await session?.close()
  }
}

/** The servers of each group that are on its primary's own line. */
function seenOf({ survey, diagnoses, coordinator }: View): Seen[] {
  const servers = distinctServers(survey.nodes.filter((node): node is Answered => node.kind === 'answered'))
  return diagnoses.flatMap(({ group, primary, standing }): Seen[] => {
    if (standing === 'refused' || !primary || primary.timeline === null || primary.history === null) return []
    const { systemIdentifier, timeline, history } = primary
    const clones = (coordinator.citus?.catalog ?? []).filter((row) => row.isclone)
    return servers
      .filter((node) => node.systemIdentifier === systemIdentifier && node.citus?.localGroup === group)
      .filter((node) => node.timeline === timeline && node.lsn !== null)
      .filter((node) => node.inRecovery || node.instance === primary.instance)
      .filter((node) => !clones.some((row) => sameAddress(row.address, node.address)))
      .filter(
        (node) => holds({ ...pointOf(node), lsn: null }, { timeline, history, lsn: null }).has === 'all',
      )
      .map((node) => ({ group, systemIdentifier, timeline, history, node }))
  })
}

function isNews(at: Answered, { group, timeline, node }: Seen): boolean {
  const known = at.installed?.positions.find(
    (each) => each.group === group && each.timeline === timeline && sameAddress(each.address, node.address),
  )
  return known === undefined || (isOlderThan(known.ageMs, RENEWED_MS) && known.lsn < (node.lsn ?? 0n))
}

function isOnRecord(
  { installed }: Answered,
  { group, systemIdentifier, timeline, history }: Lineage,
): boolean {
  const known = installed?.lineage.find((line) => line.group === group)
  const line = { group, systemIdentifier, timeline, history }
  return JSON.stringify(known) === JSON.stringify(line)
}

function positionText({ node, ...line }: Seen): object {
  const { host, port } = node.address
  const lsn = String(node.lsn ?? 0n)
  return { ...line, history: historyText(line), host, port, inRecovery: node.inRecovery, lsn }
}
