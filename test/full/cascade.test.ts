import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { standin } from '../support/clients.ts'
import { Switching } from '../support/switching.ts'

const [PRIMARY, UPSTREAM, CASCADED] = ['worker-1', 'worker-1-standby', 'worker-1-standby-2'] as const

/** A standby that streams from another standby: PRIMARY, from there UPSTREAM, from there CASCADED. */
describe.skipIf(standin)('a cascaded standby', () => {
  let switching: Switching
  const at = (name: string) => switching.at(name)
  const killed = async (...names: string[]) => {
    for (const name of names) await switching.server(name).kill()
  }

  beforeAll(async () => {
    switching = await Switching.start({
      coordinatorStandbys: [],
      workers: [{ standbys: [{}, {}] }, { standbys: [{}] }],
      before: async ({ cluster }) => {
        const { port } = cluster.server(UPSTREAM)
        const conninfo = `host=127.0.0.1 port=${port} user=postgres application_name=cascaded`
        await cluster.server(CASCADED).configure({ primary_conninfo: conninfo })
      },
    })
  }, 120_000)
  beforeEach(async () => {
    await switching.scenario.restore()
    await switching.scenario.streams(switching.server(CASCADED))
  })
  afterAll(async () => {
    await switching?.scenario.stop()
  })

  const status = async () => (await switching.scenario.run('status')).stdout

  it('is healthy', async () => {
    expect(await status()).toMatch(/all 3 groups are healthy/)
    expect(await switching.scenario.run('doctor')).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/no problem found/),
    })
  })

  it('follows its upstream, which was promoted, and stays as it is', async () => {
    await killed(PRIMARY)
    await switching.server(UPSTREAM).promote()
    const report = await switching.scenario.reconcile()
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(report.changes.map(({ nodeid, kind }) => [nodeid, kind])).toEqual([
      [2, 'primary-moved'],
      [4, 'remedy'],
    ])
    await switching.scenario.streams(switching.server(CASCADED))
    const rows = await switching.scenario.rows(switching.server(CASCADED))
    expect(rows).toEqual(await switching.scenario.rows(switching.server('coordinator')))
  })

  it('follows by itself where its upstream is switched to, and nobody says otherwise', async () => {
    const { report } = await switching.switched('--group', '1', '--to', at(UPSTREAM))
    expect(report.warnings.filter((text: string) => text.includes(at(CASCADED)))).toEqual([])
    await switching.scenario.streams(switching.server(CASCADED))
    expect(await status()).toMatch(new RegExp(`${at(CASCADED)} +streaming +2`))
  })

  it('can be switched to; its upstream will not follow, is named, and is no retired primary', async () => {
    const { report } = await switching.switched('--group', '1', '--to', at(CASCADED))
    expect(report.warnings).toContainEqual(
      expect.stringMatching(`^group 1: ${at(UPSTREAM)} will not follow by itself and has to be rewound`),
    )
    const { stdout } = await switching.scenario.run('reconcile')
    expect(stdout).toMatch(`${at(UPSTREAM)} (standby of a retired primary): does not follow`)
  })

  it('is followed when it was promoted instead of its upstream, which is named', async () => {
    await killed(PRIMARY)
    await switching.server(CASCADED).promote()
    const report = await switching.scenario.reconcile()
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(report.warnings).toContainEqual(expect.stringMatching(`${at(UPSTREAM)}.* does not follow`))
    expect(await switching.scenario.rows(switching.server('coordinator'))).toContain(
      `2 group 1 primary ${at(CASCADED)}`,
    )
  })

  it('whose upstream has failed is no standby to promote, and is followed when it is promoted nevertheless', async () => {
    await killed(UPSTREAM)
    expect(await switching.scenario.run('doctor')).toMatchObject({
      exitCode: 3,
      stdout: expect.stringMatching(`H041 .*${at(CASCADED)} is standby, not streaming`),
    })
    await killed(PRIMARY)
    await switching.server(CASCADED).promote()
    expect(await switching.scenario.reconcile()).toMatchObject({ outcome: 'changed', exitCode: 0 })
    expect(await status()).toMatch(new RegExp(`primary +${at(CASCADED)} +writable`))
  })
})
