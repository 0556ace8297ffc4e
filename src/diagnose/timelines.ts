import { holds } from '../model/line.ts'
import type { Answered, Lineage } from '../model/observation.ts'

export type Descent =
  | { readonly of: 'line'; readonly note: string | null }
  | { readonly of: 'another line'; readonly why: string }

/** Does this server's timeline descend from one that was recorded for its group, or is it that? */
export function descent({ timeline, history }: Answered, recorded: Lineage): Descent {
  if (timeline === null) return { of: 'another line', why: 'its timeline could not be read' }
  if (timeline < recorded.timeline) {
    const why = `it is on timeline ${timeline}, the group was already on ${recorded.timeline}`
    return { of: 'another line', why }
  }
  // Recorded without having seen the server's files: there is nothing to compare with.
  if (recorded.timeline === 1 && recorded.history.length === 0 && timeline > 1 && history !== null)
    return { of: 'line', note: null }
  const held = holds({ timeline, history, lsn: null }, { ...recorded, lsn: null })
  if (held.has === 'another line') return { of: 'another line', why: held.why }
  return { of: 'line', note: held.has === 'unknown' ? held.why : null }
}
