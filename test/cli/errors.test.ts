import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { citusHa, Scenario } from '../support/scenario.ts'

describe('bad input: one clear line, the documented exit code, no stack trace, no password', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const url = (user = 'citus_ha', password = '') => {
    const { host, port } = server('coordinator')
    return `postgres://${user}${password && `:${password}`}@${host}:${port}/${scenario.cluster.database}`
  }

  beforeAll(async () => {
    scenario = await Scenario.start({
      coordinatorStandbys: [],
      workers: [{ standbys: [{}] }],
      hba: ['host all guarded 127.0.0.1/32 scram-sha-256'],
    })
    await server('coordinator').query(
      `CREATE ROLE guarded LOGIN PASSWORD 'right-secret'; CREATE ROLE bare LOGIN; CREATE ROLE idle NOLOGIN`,
    )
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  async function fails(
    args: readonly string[],
    exitCode: number,
    message: RegExp,
    env: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const ran = await citusHa(args, undefined, env)
    expect(ran.stderr).toMatch(message)
    expect(ran).toMatchObject({ exitCode, stdout: '' })
    // Where no coordinator answers, a line says what to do next.
    const lines = ran.stderr.trim().split('\n')
    expect(lines.filter((line) => !line.startsWith('citus-ha: next: '))).toHaveLength(1)
    expect(lines).toHaveLength(exitCode === 4 ? 2 : 1)
    expect(ran.stderr).not.toMatch(/\bat .*\.(ts|js):\d+|secret/)
  }

  it.each(['status', 'reconcile', 'install', 'pause', 'resume', 'recover', 'history', 'doctor'])(
    '%s without a coordinator',
    async (command) => {
      await fails(
        [command],
        2,
        /no coordinator: give --coordinator URL, --config FILE or CITUS_HA_COORDINATOR/,
      )
    },
  )

  it('an unknown key and a wrong type in the file, with their path', async () => {
    const unknown = await scenario.configFile({ coordinators: [{ url: url() }], detect: { intervall: '1s' } })
    await fails(['status', '--config', unknown], 2, /detect\.intervall: unknown key/)
    const wrong = await scenario.configFile({ coordinators: [{ url: url() }], detect: { interval: 'fast' } })
    await fails(
      ['status', '--config', wrong],
      2,
      /detect\.interval: expected a duration such as 200ms, 10s or 5m, .*got "fast"/,
    )
  })

  it('a coordinator that does not answer, one without Citus, a database that does not exist', async () => {
    const nobody = 'postgres://citus_ha@127.0.0.1:1/app'
    await fails(
      ['reconcile', '--coordinator', nobody],
      4,
      /no writable coordinator answers: 127\.0\.0\.1:1: unreachable \(refused\)/,
    )
    const { host, port } = server('coordinator')
    const plain = `postgres://postgres@${host}:${port}`
    await fails(
      ['reconcile', '--coordinator', `${plain}/postgres`],
      2,
      /database postgres has no Citus node metadata/,
    )
    await fails(['reconcile', '--coordinator', `${plain}/nowhere`], 2, /database "nowhere" does not exist/)
  })

  it('a wrong password', async () => {
    const refused =
      /password authentication failed for user "guarded"; check pg_hba.conf there, and the password$/m
    await fails(['reconcile', '--coordinator', url('guarded', 'wrong-secret')], 2, refused)
    await fails(['reconcile', '--coordinator', url('guarded')], 2, refused, { PGPASSWORD: 'wrong-secret' })
  })

  it.each([
    { name: 'there is no file', lines: null, lacks: /there is no password file FILE$/m },
    {
      name: 'no line fits',
      lines: '*:*:*:postgres:right-secret\n',
      lacks: /no line of FILE has one for 127\.0\.0\.1:\d+:app:guarded$/m,
    },
    {
      name: 'its password is empty',
      lines: '*:*:*:guarded:\n',
      lacks: /no line of FILE has one for 127\.0\.0\.1:\d+:app:guarded$/m,
    },
    {
      name: 'others may read the file',
      lines: '*:*:*:guarded:right-secret\n',
      mode: 0o644,
      lacks: /password file FILE has group or world access; permissions should be u=rw \(0600\) or less$/m,
    },
  ])('no password: $name', async ({ lines, mode = 0o600, lacks }) => {
    const home = await mkdtemp(join(tmpdir(), 'citus-ha-home-'))
    const file = join(home, '.pgpass')
    if (lines !== null) await writeFile(file, lines, { mode })
    const args = ['--coordinator', url('guarded')]
    const said = new RegExp(
      `the server asks for a password for guarded, and none is known: PGPASSWORD is not set, and ${lacks.source.replace('FILE', file)}`,
      'm',
    )
    for (const command of ['status', 'doctor', 'reconcile', 'history'])
      await expect
        .soft(citusHa([command, ...args], undefined, { HOME: home }))
        .resolves.toMatchObject({ exitCode: 2, stderr: expect.stringMatching(said) })
    await rm(home, { recursive: true })
  })

  it.each([
    [
      'nosuch',
      /role "nosuch" does not exist; give a role that exists there, or create this one: citus-ha install .*--role NAME --user postgres$/m,
    ],
    [
      'idle',
      /role "idle" is not permitted to log in; give another role, or run there as a superuser: ALTER ROLE NAME LOGIN$/m,
    ],
  ])('a role that cannot log in, %s: not the fault of pg_hba.conf', async (user, message) => {
    await fails(['reconcile', '--coordinator', url(user)], 2, message)
  })

  it('a missing privilege, naming who grants it', async () => {
    const bare = ['--coordinator', url('bare')]
    await fails(
      ['reconcile', ...bare],
      2,
      /this role may not use the schema citus_ha.*citus-ha install .*--role NAME/,
    )
    await fails(['install', ...bare], 2, /install needs a superuser: citus-ha install .*--user postgres/)
  })

  it('a group that does not exist, a node name that is no host', async () => {
    const known = ['--coordinator', url()]
    await fails(['reconcile', ...known, '--group', '7'], 2, /there is no group 7; pg_dist_node has 0, 1/)
    for (const name of ['no host:1', `'; DROP--:5432`, 'worker-1', 'worker-1:0', '[::1:5432']) {
      const ran = await citusHa(['reconcile', ...known, '--promoted', name])
      expect(ran, name).toMatchObject({ exitCode: 2, stdout: '' })
      expect(ran.stderr).toContain('expected HOST:PORT')
    }
  })

  it('--promoted for a node that is still in recovery when the wait is over', async () => {
    const promoted = ['--promoted', formatAddress(server('worker-1-standby')), '--wait', '200ms']
    const ran = await citusHa(['reconcile', '--coordinator', url(), ...promoted])
    expect(ran.exitCode).toBe(3)
    expect(ran.stdout).toContain('promotion-running (D022)')
  })

  it('an unknown command and an unknown option', async () => {
    for (const args of [['recncile'], ['reconcile', '--force']]) {
      const ran = await citusHa(args)
      expect(ran.exitCode).toBe(2)
      expect(ran.stderr).toMatch(/^citus-ha: unknown (command|option)/)
    }
  })
})

describe('an event without an outcome in time', () => {
  it('is one JSON document with --json, and one line without', async () => {
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    try {
      const { port } = silent.address() as AddressInfo
      const coordinator = `postgres://citus_ha@127.0.0.1:${port}/app`
      const args = ['event', 'promoted', '127.0.0.1:1', '--coordinator', coordinator, '--timeout', '1s']
      const says = 'no outcome within 1s: nothing was changed'
      const [json, text] = await Promise.all([citusHa([...args, '--json']), citusHa(args)])
      expect({ ...json, stdout: JSON.parse(json.stdout) }).toMatchObject({
        exitCode: 4,
        stdout: { outcome: 'blocked', exitCode: 4, says, inDoubt: [] },
        stderr: '',
      })
      expect(text).toMatchObject({ exitCode: 4, stdout: '', stderr: `citus-ha: ${says}\n` })
    } finally {
      silent.close()
    }
  })
})
