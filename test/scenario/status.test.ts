import { hostname } from 'node:os'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import { type Program, start } from '../support/program.ts'
import { Scenario } from '../support/scenario.ts'

describe('status: who is at work', () => {
  let scenario: Scenario
  const programs: Program[] = []

  beforeAll(async () => {
    scenario = await Scenario.start({ coordinatorStandbys: [], workers: [{ standbys: [{}] }, {}] })
  })
  afterAll(async () => {
    for (const program of programs) program.process.kill('SIGKILL')
    await scenario?.stop()
  })

  async function activity() {
    const ran = await scenario.run('status', '--json')
    return JSON.parse(ran.stdout).activity
  }

  it('nobody, then watchers with the one that leads, since when; the next one when it is gone', async () => {
    expect(await activity()).toEqual({
      watchers: [],
      leader: null,
      changes: [],
      fences: [],
      otherWriters: [],
    })
    expect((await scenario.run('status')).stdout).toMatch(/^no watcher runs/m)
    programs.push(start('watch', ...scenario.options), start('watch', ...scenario.options))
    let seen = await activity()
    const isSo = async () => {
      seen = await activity()
      return seen.watchers.length === 2 && seen.leader?.since != null
    }
    await waitUntil('both are seen', isSo)
    expect(seen.leader).toMatchObject({
      host: hostname(),
      user: 'citus_ha',
      since: expect.stringMatching(/^\d{4}-.*Z$/),
    })
    expect(seen.watchers[0]).toEqual(seen.leader)
    expect((await scenario.run('status')).stdout).toMatch(/^watchers 2, leader .* since \d{4}-/m)
    const { pid } = seen.leader
    const database = { database: scenario.cluster.database }
    await scenario.cluster.coordinator.query('SELECT pg_terminate_backend($1::int)', [pid], database)
    await waitUntil('another session leads', async () => {
      seen = await activity()
      return seen.leader !== null && seen.leader.pid !== pid && seen.leader.since !== null
    })
  })

  it('a fence, with its group where Citus shows its locks', async () => {
    const { coordinator, database, backend } = scenario.cluster
    const session = await coordinator.connect({ database, user: 'citus_ha' })
    try {
      await session.query(`BEGIN; SELECT citus_ha.lock_copy('{1}')`)
      const { fences } = await activity()
      expect(fences).toMatchObject([{ user: 'citus_ha', groups: backend.kind === 'citus' ? [1] : [] }])
      expect((await scenario.run('status')).stdout).toMatch(/^fence: writes .*are held by /m)
    } finally {
      await session.end()
    }
    expect((await activity()).fences).toEqual([])
  })
})
