import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { citusHa, Scenario } from '../support/scenario.ts'
import { atTerminal } from '../support/terminal.ts'

const PASSWORD = 'right-secret'
const NODES = ['coordinator', 'worker-1']

describe('install as a superuser who logs in by himself', () => {
  let scenario: Scenario
  let file: string
  const server = (name: string): Server => scenario.cluster.server(name)
  const upToDate = () =>
    NODES.map(
      (name) => `${formatAddress(server(name))}, database ${scenario.cluster.database}: up to date\n`,
    ).join('')

  beforeAll(async () => {
    scenario = await Scenario.start({
      workers: [{}],
      hba: ['host all dba 127.0.0.1/32 scram-sha-256'],
    })
    for (const name of NODES)
      await server(name).query(`BEGIN; SET LOCAL citus.enable_ddl_propagation = off;
        CREATE ROLE dba LOGIN SUPERUSER PASSWORD '${PASSWORD}'; COMMIT`)
    const urls = ['coordinator', 'coordinator-standby'].map((name) =>
      server(name).url(scenario.cluster.database, 'citus_ha'),
    )
    // The superuser's as it happens, and not sent for him all the same.
    const coordinators = urls.map((url) => ({ url: url.replace('citus_ha@', 'citus_ha:right-secret@') }))
    file = await scenario.configFile({ coordinators, connection: { password: PASSWORD } }, 0o600)
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('-U keeps the file’s servers and database, and its password to itself', async () => {
    const ran = await citusHa(['install', '--config', file, '-U', 'postgres'])
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0, stdout: upToDate() })
    const none = await citusHa(['install', '--config', file, '--user', 'dba'])
    expect(none).toMatchObject({ exitCode: 2, stdout: '' })
    expect(none.stderr).toContain(
      'the server asks for a password for dba, and none is known: PGPASSWORD is not set',
    )
    const empty = await citusHa(['install', '--config', file, '--user', ''])
    expect(empty).toMatchObject({ exitCode: 2, stderr: 'citus-ha: --user: expected a name\n' })
  })

  it('takes the password from PGPASSWORD, or a password file', async () => {
    const known = await citusHa(['install', '--config', file, '-U', 'dba'], undefined, {
      PGPASSWORD: PASSWORD,
    })
    expect(known, known.stderr).toMatchObject({ exitCode: 0, stdout: upToDate() })
    const passfile = join(scenario.cluster.directory, 'pgpass')
    await writeFile(passfile, `*:*:*:dba:${PASSWORD}\n`, { mode: 0o600 })
    const found = await citusHa(['install', '--config', file, '-U', 'dba'], undefined, {
      PGPASSFILE: passfile,
    })
    expect(found, found.stderr).toMatchObject({ exitCode: 0, stdout: upToDate() })
  })

  it('asks at a terminal for a password that a server wants, and shows nothing of it', async () => {
    const terminal = atTerminal('install', '--config', file, '-U', 'dba')
    await terminal.shows('Password for user dba: ')
    terminal.type(`${PASSWORD}\r`)
    expect(await terminal.ended(), terminal.shown()).toBe(0)
    expect(terminal.shown()).toContain('up to date')
    expect(terminal.shown()).not.toMatch(/secret|\*/)
  })

  it('asks for none where none is wanted, but with -W', async () => {
    const free = atTerminal('install', '--config', file, '-U', 'postgres')
    expect(await free.ended(), free.shown()).toBe(0)
    expect(free.shown()).not.toContain('Password')
    const forced = atTerminal('install', '--config', file, '-U', 'postgres', '-W')
    await forced.shows('Password for user postgres: ')
    forced.type('whatever\r')
    expect(await forced.ended(), forced.shown()).toBe(0)
    const nobody = await citusHa(['install', '--config', file, '-W'])
    expect(nobody).toMatchObject({ exitCode: 2, stdout: '' })
    expect(nobody.stderr).toContain('-W cannot ask without a terminal: set PGPASSWORD')
  })

  it.each([
    ['Ctrl-C', '\x03', 130, 'citus-ha: interrupted; nothing was left unfinished'],
    ['Ctrl-D', '\x04', 2, 'no password was given'],
  ])('does nothing after %s', async (_, keys, exitCode, says) => {
    const terminal = atTerminal('install', '--config', file, '-U', 'dba')
    await terminal.shows('Password for user dba: ')
    terminal.type(keys)
    expect(await terminal.ended(), terminal.shown()).toBe(exitCode)
    expect(terminal.shown()).toContain(says)
  })

  it.each([
    ['Ctrl-C', '\x03', 130],
    ['Ctrl-D', '\x04', 4],
  ])('and asked to confirm, removes nothing after %s', async (_, keys, exitCode) => {
    const terminal = atTerminal('uninstall', '--config', file, '-U', 'postgres')
    await terminal.shows('[y/N]')
    terminal.type(keys)
    expect(await terminal.ended(), terminal.shown()).toBe(exitCode)
  })

  it('what doctor says to type of an address that is not allowed does it, as it is printed', async () => {
    await server('coordinator').query('DELETE FROM citus_ha.allowed_address', [], {
      database: scenario.cluster.database,
    })
    const plain = await scenario.configFile({
      coordinators: ['coordinator', 'coordinator-standby'].map((name) => ({
        url: server(name).url(scenario.cluster.database, 'citus_ha'),
      })),
    })
    for (const given of [['--config', plain], scenario.options]) {
      await server('coordinator').query('DELETE FROM citus_ha.allowed_address', [], {
        database: scenario.cluster.database,
      })
      const sick = await citusHa(['doctor', ...given])
      const [, typed = ''] = /H064[\s\S]*?mend: citus-ha (.*?)\s+#/.exec(sick.stdout) ?? []
      expect(typed, sick.stdout).toContain('--user postgres')
      const ran = await citusHa(typed.split(' '))
      expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
      expect(ran.stdout).toContain('allowed in rows of group 0')
      expect((await citusHa(['doctor', ...given])).stdout).not.toContain('H064')
    }
  })
})
