import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { citusHa, Scenario } from '../support/scenario.ts'
import { WatchProcess } from '../support/watch-process.ts'

/** As pino has it. */
const WARN = 40

describe('a cluster with two databases', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)

  beforeAll(async () => {
    scenario = await Scenario.start({
      coordinatorStandbys: [],
      extraDatabases: ['se"cond'],
      workers: [{ standbys: [{}] }, {}],
    })
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('is examined whole, and one database that fails takes nothing from the other', async () => {
    const ran = await citusHa(['doctor', '--json', ...scenario.options])
    expect(ran).toMatchObject({ exitCode: 0 })
    const { databases } = JSON.parse(ran.stdout)
    expect(databases.map((each: { database: string }) => each.database)).toEqual(['app', 'se"cond'])
    const config = await scenario.configFile({ databases: ['app', 'nosuch'] })
    const partly = await citusHa(['doctor', ...scenario.options, '--config', config])
    expect(partly.stdout).toMatch(/^app {2}coordinator /)
    expect(partly).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(/database nosuch/) })
  })

  it('is reconciled, recovered and shown, though one database fails', async () => {
    const config = await scenario.configFile({ databases: ['nosuch', 'app', 'se"cond'] })
    const args = [...scenario.options, '--config', config]
    const reconciled = await citusHa(['reconcile', '--json', ...args])
    expect(reconciled).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/^citus-ha: database nosuch: .*database "nosuch" does not exist\n$/),
    })
    expect(JSON.parse(reconciled.stdout)).toMatchObject({
      exitCode: 2,
      databases: [
        { database: 'app', outcome: 'converged' },
        { database: 'se"cond', outcome: 'converged' },
        { database: 'nosuch', exitCode: 2 },
      ],
    })
    const shown = await citusHa(['status', '--json', ...args])
    expect(shown.exitCode).toBe(2)
    expect(JSON.parse(shown.stdout).databases).toMatchObject([{ database: 'app' }, { database: 'se"cond' }])
    expect(await citusHa(['watch', '--once', ...args])).toMatchObject({ exitCode: 2 })
    expect(await citusHa(['recover', ...args])).toMatchObject({
      exitCode: 2,
      stdout: 'no transaction is in doubt\n',
    })
  })

  describe('of which one can’t be opened', () => {
    const primaries = () => ['coordinator', 'worker-1', 'worker-2'].map(server)
    const citusHere = async () => {
      const daemon = `SELECT FROM pg_stat_activity WHERE application_name = 'Citus Maintenance Daemon' AND datname = 'se"cond'`
      await waitUntil(
        'Citus is at work there',
        async () => (await server('coordinator').query(daemon)).length > 0,
      )
    }

    async function named(why: RegExp, mend: RegExp): Promise<void> {
      for (const command of [['status'], ['reconcile'], ['watch', '--once'], ['doctor']]) {
        const ran = await citusHa([...command, ...scenario.options])
        expect(ran, `${command}: ${ran.stdout}`).toMatchObject({
          exitCode: 2,
          stderr: expect.stringMatching(why),
        })
        expect(ran.stderr).toContain('se"cond')
        expect(ran.stderr).toMatch(mend)
      }
      const watch = WatchProcess.start(scenario.options)
      try {
        await waitUntil('the watcher warns', () =>
          watch.lines.some(
            ({ level, database, ...line }) =>
              level >= WARN && database === 'se"cond' && why.test(JSON.stringify(line)),
          ),
        )
      } finally {
        await watch.stop()
      }
    }

    it('is named where PUBLIC may not connect, until install has granted it', async () => {
      // On each by itself: a worker of Citus 12.1 refuses what it would have to tell the others.
      const here = 'SET citus.enable_ddl_propagation = off'
      for (const each of primaries())
        await each.query(`${here}; REVOKE CONNECT ON DATABASE "se""cond" FROM PUBLIC`)
      await citusHere()
      await named(/permission denied for database/, /a superuser grants it with: citus-ha install/)
      await scenario.install()
      for (const command of [['status'], ['reconcile'], ['watch', '--once']])
        expect(await citusHa([...command, ...scenario.options])).toMatchObject({ exitCode: 0 })
    })

    it('is named where pg_hba.conf lets nobody in', async () => {
      const file = join(server('coordinator').directory, 'pg_hba.conf')
      const before = await readFile(file, 'utf8')
      await writeFile(file, `host "se""cond" citus_ha 127.0.0.1/32 reject\n${before}`)
      await server('coordinator').reload()
      await citusHere()
      try {
        await named(/pg_hba\.conf/, /check pg_hba\.conf there/)
      } finally {
        await writeFile(file, before)
        await server('coordinator').reload()
      }
    })
  })

  it('is installed, reconciled and shown whole from one URL', async () => {
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const ran = await citusHa(['reconcile', '--json', ...scenario.options])
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
    const { databases } = JSON.parse(ran.stdout)
    expect(databases).toMatchObject([
      { database: 'app', outcome: 'changed', epoch: 1 },
      { database: 'se"cond', outcome: 'changed', epoch: 1 },
    ])
    const promoted = formatAddress(server('worker-1-standby'))
    for (const name of ['coordinator', 'worker-2', 'worker-1-standby']) {
      for (const database of ['app', 'se"cond']) {
        const rows = await server(name).query(
          `SELECT nodename || ':' || nodeport AS at FROM pg_dist_node WHERE groupid = 1 AND noderole = 'primary'`,
          [],
          { database },
        )
        expect(rows, `${name} ${database}`).toEqual([{ at: promoted }])
      }
    }
    const history = await scenario.run('history', '--json')
    expect(JSON.parse(history.stdout).changes).toHaveLength(2)
  })
})
