import { afterAll, beforeAll, test, vi } from 'vitest'
import { giveTimeBack, takeOverTime } from '../property/protocol/clock.ts'
import { holdsFor } from '../property/protocol/switchover-property.ts'

vi.mock('node:timers/promises', async () => {
  const { pause } = await import('../property/protocol/clock.ts')
  return { setTimeout: pause }
})
vi.mock('node:child_process', async () => {
  const { spawn } = await import('../property/protocol/shell.ts')
  return { spawn }
})
vi.mock('node:crypto', async (original) => {
  const { uniqueBytes } = await import('../property/protocol/clock.ts')
  return { ...(await original<typeof import('node:crypto')>()), randomBytes: uniqueBytes }
})

beforeAll(takeOverTime)
afterAll(giveTimeBack)

test('10,000 schedules of real switchovers over simulated servers break no invariant', {
  timeout: 3_600_000,
}, async () => {
  await holdsFor(Number(process.env.CITUS_HA_SCHEDULES ?? 10_000))
})
