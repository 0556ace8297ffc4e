import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { standin } from '../support/clients.ts'
import { Switching } from '../support/switching.ts'

describe.skipIf(standin)('a switchover of several groups', () => {
  let switching: Switching

  beforeAll(async () => {
    switching = await Switching.start()
  })
  beforeEach(async () => {
    await switching.scenario.restore()
  })
  afterEach(async () => {
    await switching.tidy()
  })
  afterAll(async () => {
    await switching?.scenario.stop()
  })

  it('both workers at once: one fence, one change', async () => {
    const running = await switching.clients(['coordinator'])
    const { exitCode, report, stderr } = await switching.switchover('--group', '1,2')
    expect(exitCode, JSON.stringify(report) + stderr).toBe(0)
    expect(report.moves).toHaveLength(2)
    expect(report.reports[0]).toMatchObject({ epoch: 1 })
    await switching.expectAll(running)
    const rows = await switching.scenario.rows(switching.server('coordinator'))
    expect(rows).toContain(`2 group 1 primary ${switching.at('worker-1-standby')}`)
    expect(rows).toContain(`3 group 2 primary ${switching.at('worker-2-standby')}`)
  })

  it('everything on one machine', async () => {
    const { exitCode, report } = await switching.switchover('--node', '127.0.0.1', '--dry-run')
    expect(exitCode, JSON.stringify(report)).toBe(0)
    expect(report.moves.map(({ group }: { group: number }) => group)).toEqual([0, 1, 2])
  })
})
