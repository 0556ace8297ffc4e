import type { Report } from '../model/outcome.ts'
import { pausedBy } from '../model/pause.ts'
import type { Access } from '../walk/access.ts'
import { Clock } from '../walk/clock.ts'
import { observe, view } from '../walk/look.ts'
import { walk } from '../walk/walk.ts'
import type { WalkRequest } from '../walk/walk-request.ts'

/**
 * One turn of a watcher and no more, for cron: what is paused is left alone. No lead is taken, since a change
 * is compare-and-set: beside a running watcher the slower one finds nothing to do.
 */
export async function watchOnce(access: Access, request: WalkRequest): Promise<Report> {
  const survey = await observe(access, request, new Clock())
  const seen = view(survey, access, request)
  const { coordinator, diagnoses } = seen
  const pauses = coordinator.installed?.pauses ?? []
  const groups = diagnoses.map((diagnosis) => diagnosis.group)
  const free = groups.filter((group) => pausedBy(pauses, group) === null)
  if (free.length === groups.length) return await walk(access, { ...request, seen })
  if (free.length > 0) return await walk(access, { ...request, seen, groups: free })
  request.progress('paused: nothing was changed; below is what would be done')
  return await walk(access, { ...request, seen, mode: 'dry-run' })
}
