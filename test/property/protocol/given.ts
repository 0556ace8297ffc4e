import type { Schedule } from './schedule.ts'
import { World } from './world.ts'

/** Nothing happens. */
export const QUIET: Schedule = {
  seed: 0,
  standbys: [0, [1, 1]],
  synchronous: false,
  slowReplay: false,
  recorded: true,
  before: 'nothing',
  events: [],
  rival: null,
  vouched: null,
  faults: [],
}

/** A coordinator and two workers with a standby each, to whom nothing happens; every message is in its log. */
export function quietWorld(): World {
  return new World(QUIET, true)
}

/** What comes of the work, in the virtual time of its world. */
export async function within<T>(world: World, work: Promise<T>): Promise<T> {
  let done = false
  const ended = work.finally(() => {
    done = true
  })
  await Promise.all([world.clock.run(() => done, 60_000), ended.catch(() => undefined)])
  world.rethrow()
  return await ended
}
