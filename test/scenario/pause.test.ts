import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { killedAt, leftPrepared } from '../support/crash.ts'
import { citusHa, Scenario } from '../support/scenario.ts'
import { Watching } from '../support/watching.ts'

const BY = /citus-ha \(\S+\) as citus_ha from 127\.0\.0\.1/

describe('pause and resume', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const status = async () => JSON.parse((await scenario.run('status', '--json')).stdout)

  beforeAll(async () => {
    scenario = await Scenario.start({ workers: [{ standbys: [{}] }, {}] })
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('pauses a group once, whoever asks again, and says who did it, when and why', async () => {
    const first = await scenario.run('pause', '--group', '1', '--reason', 'disks\nare moved')
    expect(first).toMatchObject({ exitCode: 0, stderr: '' })
    expect(first.stdout).toMatch(/^paused group 1 in app: since \S+Z by .*: disks are moved\n$/)
    expect(first.stdout).toMatch(BY)
    const again = await scenario.run('pause', '--group', '1', '--reason', 'another')
    expect(again.exitCode).toBe(0)
    expect(again.stdout).toBe(
      first.stdout.replace('paused group 1 in app', 'group 1 was already paused in app'),
    )
    const { pauses, groups } = await status()
    expect(pauses).toEqual([
      { group: 1, since: expect.stringMatching(/Z$/), by: expect.stringMatching(BY), why: 'disks are moved' },
    ])
    expect(groups.map(({ group, paused }: { group: number; paused: boolean }) => [group, paused])).toEqual([
      [0, false],
      [1, true],
      [2, false],
    ])
  })

  it('ends what it is told to end, and says what is still paused', async () => {
    await scenario.run('pause')
    await scenario.run('pause', '--group', '1')
    const group = await scenario.run('resume', '--group', '1')
    expect(group.stdout).toMatch(
      /^resumed group 1 in app, paused since .*\n {2}still paused in app: the cluster since .*\n$/,
    )
    const absent = await scenario.run('resume', '--group', '1')
    expect(absent).toMatchObject({ exitCode: 0, stderr: '' })
    expect(absent.stdout).toMatch(
      /^group 1 was not paused in app\n {2}still paused in app: the cluster since /,
    )
    await scenario.run('pause', '--group', '2')
    const cluster = await scenario.run('resume', '--json')
    expect(JSON.parse(cluster.stdout)).toMatchObject({
      databases: [
        { database: 'app', group: null, changed: true, pause: { group: null }, pauses: [{ group: 2 }] },
      ],
    })
    expect((await scenario.run('resume')).stdout).toMatch(
      /^the cluster was not paused in app\n {2}still paused in app: group 2 since /,
    )
    expect((await scenario.run('resume', '--group', '2')).stdout).toMatch(/^resumed group 2 .*\n$/)
    expect((await status()).pauses).toEqual([])
  })

  it('is shown by status first, and is nothing that is wrong', async () => {
    await scenario.run('pause', '--reason', 'upgrade')
    const ran = await scenario.run('status')
    expect(ran.exitCode, ran.stdout).toBe(0)
    expect(ran.stdout).toMatch(/^paused: the cluster since .*: upgrade$/m)
    expect(ran.stdout).toMatch(/^1 +healthy, paused +primary /m)
  })

  it('knows no group that the coordinator does not know, and then changes nothing', async () => {
    for (const command of ['pause', 'resume']) {
      const ran = await scenario.run(command, '--group', '7')
      expect(ran).toMatchObject({ exitCode: 2, stdout: '' })
      expect(ran.stderr).toBe('citus-ha: there is no group 7; pg_dist_node has 0, 1, 2\n')
    }
    expect((await status()).pauses).toEqual([])
  })

  it('resumes a group that pg_dist_node no longer has', async () => {
    const { database } = scenario.cluster
    const insert = `INSERT INTO citus_ha.pause (groupid, by) VALUES (7, 'somebody')`
    await server('coordinator').query(insert, [], { database })
    const ran = await scenario.run('resume', '--group', '7')
    expect(ran.stdout).toMatch(/^resumed group 7 in app, paused since \S+ by somebody\n$/)
  })

  it('outlives a restart of the coordinator and the promotion of its standby', async () => {
    await scenario.run('pause', '--group', '2')
    await server('coordinator').restart()
    expect((await status()).pauses).toMatchObject([{ group: 2 }])
    await scenario.settle()
    await server('coordinator').kill()
    await server('coordinator-standby').promote()
    expect((await status()).pauses).toMatchObject([{ group: 2 }])
    expect((await scenario.run('resume', '--group', '2')).stdout).toMatch(/^resumed group 2 in app/)
  })

  it('does not wait for a synchronous standby that is gone', async () => {
    await server('coordinator').configure({ synchronous_standby_names: 'gone', synchronous_commit: 'on' })
    expect(await scenario.run('pause')).toMatchObject({ exitCode: 0 })
    expect((await status()).pauses).toMatchObject([{ group: null }])
  })

  it('lets a reconcile that somebody calls act, with a line that says whose wish that is against', async () => {
    await scenario.run('pause', '--group', '1', '--reason', 'by hand')
    await scenario.run('pause', '--group', '2')
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const report = await scenario.reconcile('--group', '1')
    expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
    const paused = report.warnings.filter((warning) => warning.startsWith('paused: '))
    expect(paused).toEqual([
      expect.stringMatching(
        /^paused: group 1 since \S+Z by citus-ha .*: by hand; the pause does not apply to this command/,
      ),
    ])
  })

  it('does not keep a watch from finishing what a change left prepared, and from nothing else', async () => {
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const before = await scenario.rows(server('coordinator'))
    expect(await killedAt('all-prepared', ['reconcile', ...scenario.options])).toBe('SIGKILL')
    expect(await leftPrepared(scenario)).not.toEqual([])
    await scenario.run('pause')
    const watching = await Watching.start(scenario)
    try {
      await waitUntil('nothing is left prepared', async () => (await leftPrepared(scenario)).length === 0)
      await watching.surveys(2)
      expect(watching.of('held').at(-1)).toMatchObject({ group: 1, why: 'paused' })
      expect(watching.of('acted')).toEqual([])
    } finally {
      await watching.stop()
    }
    expect(await scenario.rows(server('coordinator'))).toEqual(before)
  })

  it('takes one of two calls at once as the first, though the role’s transactions are repeatable read', async () => {
    await server('coordinator').query(
      `ALTER ROLE citus_ha SET default_transaction_isolation = 'repeatable read'`,
    )
    const ran = await Promise.all([1, 2, 3, 4].map(() => scenario.run('pause', '--json')))
    const changed = ran.map(({ stdout }) => JSON.parse(stdout).databases[0].changed)
    expect(changed.filter(Boolean)).toHaveLength(1)
  })

  it('says what to run where the schema is missing', async () => {
    await server('coordinator').query('DROP SCHEMA citus_ha CASCADE', [], {
      database: scenario.cluster.database,
    })
    const superuser = server('coordinator').url(scenario.cluster.database)
    for (const options of [scenario.options, ['--coordinator', superuser]]) {
      const ran = await citusHa(['pause', ...options])
      expect(ran).toMatchObject({ exitCode: 2, stdout: '' })
      expect(ran.stderr).toMatch(
        /the schema citus_ha is missing; a superuser installs it with: citus-ha install/,
      )
    }
  })
})
