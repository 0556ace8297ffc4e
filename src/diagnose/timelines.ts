import type { Answered, Lineage, TimelineSwitch } from '../model/observation.ts'

export type Descent =
  | { readonly of: 'line'; readonly note: string | null }
  | { readonly of: 'another line'; readonly why: string }

/**
 * Does this server's timeline descend from the last one recorded for its group?
 *
 * Two promotions can give the same number, so for an equal number the histories (parent timeline and switch
 * position) have to be equal too; a higher one has to have the recorded one among its ancestors, and to have
 * left each of them where the record says. (PostgreSQL: "25.3.6 Timelines"; `timeline.c`.)
 */
export function descent(node: Answered, recorded: Lineage): Descent {
  const { timeline, history } = node
  if (timeline === null) return { of: 'another line', why: 'its timeline could not be read' }
  if (timeline < recorded.timeline) {
    return {
      of: 'another line',
      why: `it is on timeline ${timeline}, the group was already on ${recorded.timeline}`,
    }
  }
  if (history === null)
    return { of: 'line', note: 'its timeline history could not be read and was not compared' }
  if (timeline === recorded.timeline) {
    return sameSwitches(history, recorded.history)
      ? { of: 'line', note: null }
      : {
          of: 'another line',
          why: `it is on another timeline ${timeline} than the group: ${switches(history)}`,
        }
  }
  // Recorded without having seen the server's files: there is nothing to compare with.
  if (recorded.timeline === 1 && recorded.history.length === 0) return { of: 'line', note: null }
  const shared = history.slice(0, recorded.history.length)
  const parent = history.some((entry) => entry.timeline === recorded.timeline)
  return parent && sameSwitches(shared, recorded.history)
    ? { of: 'line', note: null }
    : {
        of: 'another line',
        why: `timeline ${recorded.timeline} of the group is no ancestor of its ${timeline}: ${switches(history)}`,
      }
}

function sameSwitches(a: readonly TimelineSwitch[], b: readonly TimelineSwitch[]): boolean {
  return (
    a.length === b.length &&
    a.every((entry, i) => entry.timeline === b[i]?.timeline && entry.lsn === b[i]?.lsn)
  )
}

function switches(history: readonly TimelineSwitch[]): string {
  return history.length === 0
    ? 'no history'
    : history.map((entry) => `${entry.timeline} until ${entry.lsn}`).join(', ')
}
