import { setTimeout as pause } from 'node:timers/promises'
import { describeBlocker } from '../apply/blockers.ts'
import type { WalkRequest } from '../walk/walk-request.ts'
import { GaveWay } from './patience.ts'
import type { Stage } from './stage.ts'
import { undoSides } from './undo.ts'

type Step = <T>(name: string, work: () => Promise<T>) => Promise<T>

const PAUSE_MS = 25
const LONGEST_PAUSE_MS = 500

/**
 * Fences and quiesces. A transaction that has read, and then writes, waits for the fence while the fence waits for its
 * end: such a round is given up for it, and another one is tried, until the request's deadline.
 * @throws what kept the last round from it; what it has done is to be undone
 */
export async function holdInRounds(stage: Stage, request: WalkRequest, step: Step): Promise<void> {
  const until = performance.now() + request.deadlineMs
  for (let attempt = 1; ; attempt++) {
    const stuck = await oneRound(stage, request, step).then(
      () => null,
      (error: unknown) => {
        if (error instanceof GaveWay && performance.now() < until) return error
        throw error
      },
    )
    if (stuck === null) return
    stage.waitedFor.push(...stuck.blockers)
    if (stage.left.length > 0) throw stuck
    const { left } = await undoSides(stage, stage.sides, null)
    if (left.length > 0) throw new Error(left.join('; '))
    await stage.begunAnew('it released its locks')
    for (const line of [`${stuck.message}; trying again`, ...stuck.blockers.map(describeBlocker)])
      request.progress(line)
    // Of different length, lest it always meets the same moment of those who write in a rhythm.
    const longestMs = Math.min(LONGEST_PAUSE_MS, PAUSE_MS * attempt)
    await pause(longestMs * Math.random(), undefined, { signal: request.signal })
  }
}

async function oneRound(stage: Stage, { signal }: WalkRequest, step: Step): Promise<void> {
  await step('look', () => stage.look())
  signal.throwIfAborted()
  await step('fence', () => stage.takeFences((work) => step('intend', work)))
  await step('recheck', () => stage.recheck())
  await step('quiesce', () => stage.quiesce())
}
