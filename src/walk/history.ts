import { z } from 'zod'
import { literal, statement } from '../db/sql.ts'
import { codeOf, SqlState } from '../db/sqlstate.ts'
import type { HostPort } from '../model/node.ts'
import type { Access } from './access.ts'
import { requireCoordinator } from './checks.ts'
import { Clock } from './clock.ts'
import { requireInstalled } from './install.ts'
import { observe } from './look.ts'
import type { WalkRequest } from './walk-request.ts'

const decision = z
  .object({
    coordinator_timeline: z.number().int(),
    epoch: z.number().int(),
    gids: z.array(z.string()),
    groups: z.array(z.number().int()),
    reason: z.string(),
    evidence: z.unknown(),
    rows_before: z.unknown(),
    rows_after: z.unknown(),
    made_by: z.string(),
    decided_at: z.string(),
  })
  .transform((row) => ({
    timeline: row.coordinator_timeline,
    epoch: row.epoch,
    gids: row.gids,
    groups: row.groups,
    reason: row.reason,
    evidence: row.evidence,
    before: row.rows_before,
    after: row.rows_after,
    madeBy: row.made_by,
    // PostgreSQL writes it with the session's own offset from UTC.
    decidedAt: new Date(row.decided_at).toISOString(),
  }))

/** A decided change, as `citus_ha.change` has it; `decidedAt` is ISO 8601, in UTC. */
type PastChange = z.infer<typeof decision>

/** The same, with the database whose metadata it was. */
export type ChangeIn = PastChange & { readonly database: string }

const LIMIT_MS = 10_000

/**
 * The changes of several databases that were decided, newest first, `limit` in all.
 * @param requests one for each database
 * @throws CitusHaError without a coordinator or the schema; what the server says
 */
export async function historyEverywhere(
  access: Access,
  requests: readonly WalkRequest[],
  limit: number,
): Promise<ChangeIn[]> {
  const all: ChangeIn[] = []
  for (const request of requests) {
    const { database } = request
    const coordinator = requireCoordinator(await observe(access, request, new Clock()))
    if (!coordinator.installed) requireInstalled(coordinator, access.migration)
    const changes = await readHistory(access, coordinator.address, database, limit).catch(
      (error: unknown) => {
        // Who may look at the records and no more can read them: others are told what they lack.
        if (codeOf(error) === SqlState.insufficientPrivilege) requireInstalled(coordinator, access.migration)
        throw error
      },
    )
    all.push(...changes.map((change) => ({ database, ...change })))
  }
  return newestFirst(all).slice(0, limit)
}

/** By the moment, and not by its text; what was decided in the same one stays in the order that it has. */
export function newestFirst<T extends Pick<PastChange, 'decidedAt'>>(changes: readonly T[]): T[] {
  return changes.toSorted((a, b) => Date.parse(b.decidedAt) - Date.parse(a.decidedAt))
}

/** The changes that were decided, newest first. @throws what the server says */
async function readHistory(
  access: Access,
  coordinator: HostPort,
  database: string,
  limit: number,
): Promise<PastChange[]> {
  const session = await access.open(coordinator, database)
  try {
    const [rows] = await session.run(statement('probe/history').replace('$1', literal(limit)), LIMIT_MS)
    return z.array(decision).parse(rows?.[0]?.changes)
  } finally {
    await session.close()
  }
}
