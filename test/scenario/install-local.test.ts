import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { putInHba } from '../support/hba.ts'
import { citusHa, Scenario } from '../support/scenario.ts'

describe('install and uninstall --local, where a superuser comes in by the Unix socket only', () => {
  let scenario: Scenario
  let directory: string
  const open: (() => Promise<void>)[] = []
  const server = (name: string): Server => scenario.cluster.server(name)
  const local = (name: string, ...flags: string[]) =>
    citusHa(['install', '--local', '--user', 'postgres', ...flags], undefined, socket(name))
  const socket = (name: string) => ({ PGHOST: directory, PGPORT: String(server(name).port) })

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'citus-ha-sockets-'))
    await chmod(directory, 0o777)
    scenario = await Scenario.start({
      install: 'no',
      coordinatorStandbys: [],
      workers: [{ standbys: [{}] }],
      settings: { unix_socket_directories: directory },
    })
    await server('coordinator').query('CREATE ROLE plain LOGIN')
    for (const each of scenario.cluster.servers)
      open.push(
        await putInHba(each, [
          'local all all trust',
          `host ${scenario.cluster.database} postgres 127.0.0.1/32 reject`,
        ]),
      )
  })
  afterAll(async () => {
    for (const each of open) await each()
    await scenario?.stop()
    if (directory) await rm(directory, { recursive: true, force: true })
  })

  it('installs on that node alone, says so, and where it is to be run still; then all works over TCP', async () => {
    const { coordinator, database } = scenario.cluster
    const worker = server('worker-1')
    const over = await citusHa(['install', '--coordinator', coordinator.url(database, 'postgres')])
    expect(over.exitCode).toBeGreaterThan(0)
    const dry = await local('coordinator', '--dry-run')
    expect(dry).toMatchObject({ exitCode: 0, stderr: '' })
    expect(dry.stdout).toContain(`database ${database}: schema citus_ha would be created\n`)
    const first = await local('coordinator')
    expect(first).toMatchObject({ exitCode: 0, stderr: '' })
    expect(first.stdout).toContain(
      `${directory}:${coordinator.port}, database ${database}: schema citus_ha created\n`,
    )
    expect(first.stdout).toContain(
      `Run the same command on the primary of each other group where it was not run yet: group 1: ${worker.host}:${worker.port}\n`,
    )
    const second = await local('worker-1', '--json')
    expect(JSON.parse(second.stdout)).toMatchObject({
      exitCode: 0,
      databases: [
        { database, outcome: 'installed', others: [`group 0: ${coordinator.host}:${coordinator.port}`] },
      ],
    })
    expect((await local('coordinator')).stdout).toContain(`database ${database}: up to date\n`)
    const reconciled = await citusHa(['reconcile', ...scenario.options])
    expect(reconciled, reconciled.stdout + reconciled.stderr).toMatchObject({ exitCode: 0 })
    const status = await citusHa(['status', ...scenario.options])
    expect(status, status.stdout + status.stderr).toMatchObject({ exitCode: 0 })
  })

  it('uninstalls in the same way, the coordinator last', async () => {
    const away = (name: string, ...flags: string[]) =>
      citusHa(['uninstall', '--local', '--user', 'postgres', '--yes', ...flags], undefined, socket(name))
    expect((await away('coordinator', '--dry-run')).stdout).toContain(' functions, would be removed\n')
    expect((await local('coordinator', '--dry-run')).stdout).toContain('up to date\n')
    for (const name of ['worker-1', 'coordinator']) {
      const gone = await away(name, '--json')
      expect(gone, gone.stdout + gone.stderr).toMatchObject({ exitCode: 0 })
      expect(JSON.parse(gone.stdout)).toMatchObject({ outcome: 'removed', stays: [], failure: null })
      expect((await away(name)).stdout).toMatch(/^there is nothing to remove\n/)
    }
    expect((await local('worker-1', '--dry-run')).stdout).toContain('schema citus_ha would be created\n')
  })

  it('names the database in which a schema is somebody else’s', async () => {
    const coordinator = server('coordinator')
    const where = { ...socket('coordinator') }
    await coordinator.query('CREATE DATABASE aaa OWNER plain', [], { database: 'postgres' })
    await coordinator.query(
      `CREATE EXTENSION citus; SELECT citus_set_coordinator_host('localhost', ${coordinator.port}); SET ROLE plain; CREATE SCHEMA citus_ha`,
      [],
      { database: 'aaa' },
    )
    try {
      const refusal = /^citus-ha: database aaa: .*the schema citus_ha was not made by citus-ha.*\n$/
      const uninstall = await citusHa(
        ['uninstall', '--yes', '--local', '--user', 'postgres'],
        undefined,
        where,
      )
      expect(uninstall).toMatchObject({ exitCode: 2, stdout: '' })
      expect(uninstall.stderr).toMatch(refusal)
      // It takes nothing from the others.
      const installed = await local('coordinator')
      expect(installed).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(refusal) })
      expect(installed.stdout).toContain(`database ${scenario.cluster.database}: schema citus_ha created\n`)
      const json = JSON.parse((await local('coordinator', '--json')).stdout)
      expect(json).toMatchObject({
        exitCode: 2,
        databases: [
          { database: scenario.cluster.database, outcome: 'up to date' },
          { database: 'aaa', error: expect.stringContaining('was not made by citus-ha'), exitCode: 2 },
        ],
      })
    } finally {
      await coordinator.query('DROP DATABASE aaa WITH (FORCE)', [], { database: 'postgres' })
    }
  })

  it('says so of a server that another one has replaced', async () => {
    expect(await local('worker-1')).toMatchObject({ exitCode: 0 })
    const { port } = server('worker-1')
    const worker = new pg.Client({
      host: directory,
      port,
      user: 'postgres',
      database: scenario.cluster.database,
    })
    await worker.connect()
    await worker.query('UPDATE pg_dist_local_group SET groupid = groupid + 1000000000')
    try {
      expect((await local('worker-1')).stdout).toContain(
        'another server has replaced this one as its group’s primary',
      )
    } finally {
      await worker.query('UPDATE pg_dist_local_group SET groupid = groupid - 1000000000')
      await worker.end()
    }
  })

  it('refuses a standby, one that is no superuser, and a socket that there is not', async () => {
    expect(await local('worker-1-standby')).toMatchObject({ exitCode: 2, stdout: '' })
    expect((await local('worker-1-standby')).stderr).toMatch(
      /this server is a standby, .* Run the same command on the machine of its primary/,
    )
    const asRole = await local('coordinator', '--user', 'plain')
    expect(asRole.exitCode).toBe(2)
    expect(asRole.stderr).toMatch(/this needs a superuser/)
    const nowhere = await citusHa(['install', '--local'], undefined, { PGHOST: '/nonexistent', PGPORT: '1' })
    expect(nowhere).toMatchObject({ exitCode: 2, stdout: '' })
    expect(nowhere.stderr).toMatch(/no Unix socket \.s\.PGSQL\.1 in \/nonexistent/)
  })
})
