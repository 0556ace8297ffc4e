import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import type { WatchEvent } from '../../src/watch/event.ts'
import { Fences } from '../../src/watch/fences.ts'
import { giveTimeBack, takeOverTime, use } from './protocol/clock.ts'
import { quietWorld, within } from './protocol/given.ts'
import { Instance } from './protocol/network.ts'
import { requestOf } from './protocol/run.ts'

vi.mock('node:timers/promises', async () => {
  const { pause } = await import('./protocol/clock.ts')
  return { setTimeout: pause }
})

beforeAll(takeOverTime)
afterEach(() => use(null))
afterAll(giveTimeBack)

test('a fence that was taken anew outlives the end of the one before, which a change had spent', async () => {
  const world = quietWorld()
  use(world.clock)
  const instance = new Instance(world, 'ha1')
  const told: WatchEvent[] = []
  const fences = new Fences('app', (event) => told.push(event))
  const hold = () => within(world, fences.hold(instance, requestOf(world, instance), 1, 30_000))

  expect(await hold()).toMatchObject({ outcome: 'fenced' })
  const old = fences.of([1])
  // As a change does that has been decided, and is verified still: its transactions are over, the fence is lent.
  expect(await old?.borrow()).toBe(true)
  old?.spend()
  await within(world, Promise.resolve(old?.dismiss([])))
  expect(await hold()).toMatchObject({ outcome: 'fenced' })
  const fresh = fences.of([1])
  expect(fresh).not.toBe(old)

  await within(world, Promise.resolve(old?.giveBack()))
  expect(fences.of([1])).toBe(fresh)
  expect(fences.leftMs(1)).toBeGreaterThan(0)
  expect(told.map((event) => event.kind === 'fence' && event.now)).toEqual(['held', 'held'])
  expect(await within(world, fences.release(1))).toMatchObject({ released: true })
  expect(told.at(-1)).toMatchObject({ now: 'ended', detail: 'it was released' })
  expect(fences.groups).toEqual([])
})
