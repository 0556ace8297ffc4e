import { z } from 'zod'
import { statement } from '../db/sql.ts'
import { type ActiveSession, type Activity, readWatcherComment } from '../model/activity.ts'
import type { Answered } from '../model/observation.ts'
import type { Access } from './access.ts'
import { describeError } from './describe-error.ts'

const LIMIT_MS = 2_000

const activityRow = z.object({
  sees_all: z.boolean(),
  sessions: z.array(
    z.object({
      pid: z.number(),
      user: z.string(),
      client: z.string().nullable(),
      query: z.string().nullable(),
      since: z.string().nullable(),
      leads: z.boolean(),
      changes: z.boolean(),
      fences: z.boolean(),
      program: z.string().nullable(),
      groups: z.array(z.number()),
    }),
  ),
})

/** Who is at work, or why that can't be read. */
export type ReadActivity =
  | { readonly activity: Activity; readonly unread: null }
  | { readonly activity: null; readonly unread: string }

/**
 * Who is at work on the coordinator: asked beside a survey, which has no use for it.
 * Never throws.
 */
export async function readActivity(
  access: Access,
  coordinator: Answered,
  database: string,
): Promise<ReadActivity> {
  if (coordinator.installed === null)
    return { activity: null, unread: 'the schema citus_ha is not installed in this database' }
  try {
    const session = await access.open(coordinator.address, database)
    try {
      const [rows] = await session.run(statement('probe/activity'), LIMIT_MS)
      return { activity: activityOf(rows?.[0]), unread: null }
    } finally {
      await session.close()
    }
  } catch (error) {
    return { activity: null, unread: describeError(error).line }
  }
}

/** @throws ZodError */
export function activityOf(row: unknown): Activity {
  const { sees_all, sessions } = activityRow.parse(row)
  const all = sessions.map((each) => {
    const said = readWatcherComment(each.query ?? '')
    const { pid, user, client, since } = each
    const session: ActiveSession = {
      pid,
      user,
      client,
      host: said?.host ?? null,
      since: each.leads ? (said?.leadsSince ?? null) : since,
    }
    return { ...each, session }
  })
  const seen = all.filter(({ program }) => program === null)
  const watching = seen.filter(({ leads, changes, fences }) => leads || !(changes || fences))
  const leader = seen.find(({ leads }) => leads)?.session ?? null
  return {
    watchers: sees_all ? watching.map(({ session }) => session) : null,
    leader,
    changes: seen.filter(({ changes }) => changes).map(({ session }) => session),
    fences: seen
      .filter(({ fences, changes }) => fences && !changes)
      .map(({ session, groups }) => ({ ...session, groups })),
    otherWriters: all.flatMap(({ session, program }) => (program === null ? [] : [{ ...session, program }])),
  }
}
