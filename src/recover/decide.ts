import { parseGid } from '../model/gid.ts'

/** What to do with a prepared transaction, and why. */
export type Resolution =
  | { readonly action: 'commit' | 'roll back'; readonly gid: string; readonly why: string }
  | { readonly action: 'leave'; readonly gid: string; readonly why: string }

export interface Decisions {
  readonly cluster: string
  readonly database: string
  /** Timeline of the coordinator that is asked. */
  readonly timeline: number
  /** The exact gids in `citus_ha.change`, read under the coordinator's change lock. */
  readonly committed: ReadonlySet<string>
}

/**
 * Presumed abort: a gid that the coordinator decided to commit is committed, any other of ours is rolled back.
 * Only what was prepared under an older or the same coordinator timeline: a newer coordinator may know of a
 * decision that this one can't.
 */
export function decide(gid: string, decisions: Decisions): Resolution {
  const parsed = parseGid(gid, decisions.cluster, decisions.database)
  if (!parsed) return { action: 'leave', gid, why: 'not of this cluster and database' }
  if (decisions.committed.has(gid))
    return { action: 'commit', gid, why: `change ${parsed.epoch} was decided` }
  if (parsed.timeline > decisions.timeline) {
    return {
      action: 'leave',
      gid,
      why: `made under coordinator timeline ${parsed.timeline}, but this coordinator is on timeline ${decisions.timeline}: if timeline ${parsed.timeline} was given up for good, run ROLLBACK PREPARED '${gid.replaceAll("'", "''")}' there, in database ${decisions.database}, as a superuser`,
    }
  }
  return { action: 'roll back', gid, why: `change ${parsed.epoch} was never decided` }
}
