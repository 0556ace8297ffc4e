import { z } from 'zod'
import { BEGIN } from '../apply/statements.ts'
import { literal } from '../db/sql.ts'
import { groupsOf } from '../model/catalog.ts'
import type { Answered } from '../model/observation.ts'
import type { Pause } from '../model/pause.ts'
import { pauseRow } from '../observe/rows.ts'
import type { Access } from './access.ts'
import { requireCoordinator, requireGroups } from './checks.ts'
import { Clock } from './clock.ts'
import { requireInstalled } from './install.ts'
import { observe } from './look.ts'
import type { WalkRequest } from './walk-request.ts'

/** What became of a call to pause or to resume. */
export interface PauseResult {
  /** False where everything was so already. */
  readonly changed: boolean
  /** The pause in force, or the one that was ended; null where there was none to end. */
  readonly pause: Pause | null
  /** All that are in force now, the whole cluster's first. */
  readonly pauses: readonly Pause[]
}

export type PauseOrder =
  | { readonly kind: 'pause'; readonly group: number | null; readonly why: string | null }
  | { readonly kind: 'resume'; readonly group: number | null }

const LIMIT_MS = 5_000

const resultRow = z.object({
  changed: z.boolean(),
  pause: pauseRow.nullable(),
  pauses: z.array(pauseRow),
})

/**
 * The coordinator on which the order can be carried out. One that needs no proof of any group: pausing has to work
 * when nothing else does.
 * @throws CitusHaError without a coordinator or the schema, or for a group that does not exist
 */
async function requirePausable(
  access: Access,
  request: WalkRequest,
  { kind, group }: PauseOrder,
): Promise<Answered> {
  const coordinator = requireCoordinator(await observe(access, request, new Clock()))
  requireInstalled(coordinator, access.migration)
  if (group === null) return coordinator
  const registered = groupsOf(coordinator.citus?.catalog ?? [])
  // A group that is gone may still be paused.
  const isPaused = coordinator.installed?.pauses.some((pause) => pause.group === group)
  if (kind === 'pause' || !isPaused) requireGroups([group], registered)
  return coordinator
}

/** The same for one database of several. */
export type PausedIn = PauseResult & { readonly database: string; readonly group: number | null }

/**
 * In every database or, where one does not allow it, in none.
 * @param requests one for each database
 * @throws CitusHaError as `requirePausable`
 */
export async function pauseEverywhere(
  access: Access,
  requests: readonly WalkRequest[],
  order: PauseOrder,
): Promise<PausedIn[]> {
  const found = []
  for (const request of requests) {
    found.push({ request, coordinator: await requirePausable(access, request, order) })
  }
  const done: PausedIn[] = []
  for (const { request, coordinator } of found) {
    const result = await orderPause(access, request, coordinator, order)
    done.push({ database: request.database, group: order.group, ...result })
  }
  return done
}

/** Stores or ends a pause on the coordinator. Again: nothing changes. @throws what the driver or the server says */
async function orderPause(
  access: Access,
  { database, madeBy }: WalkRequest,
  coordinator: Answered,
  order: PauseOrder,
): Promise<PauseResult> {
  const session = await access.open(coordinator.address, database)
  try {
    const [, , , rows] = await session.run(
      [
        // A synchronous standby that is gone must not keep a pause from being seen: it is needed then most of all.
        'SET synchronous_commit = local',
        `SET lock_timeout = ${LIMIT_MS / 2}`,
        BEGIN,
        `SELECT ${callOf(order, madeBy)} AS result`,
        'COMMIT',
      ].join('; '),
      LIMIT_MS,
    )
    return resultRow.parse(rows?.[0]?.result)
  } finally {
    await session.close()
  }
}

function callOf(order: PauseOrder, madeBy: string): string {
  const group = order.group === null ? 'NULL' : literal(order.group)
  if (order.kind === 'resume') return `citus_ha.resume_changes(${group})`
  const why = order.why === null ? 'NULL' : literal(order.why)
  return `citus_ha.pause_changes(${group}, ${literal(madeBy)}, ${why})`
}
