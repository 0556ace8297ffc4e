import { execFile } from 'node:child_process'
import { chmod, chown, copyFile, mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { readSettings } from '../../src/demo/conf.ts'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { type HostPort, parseAddress } from '../../src/model/node.ts'
import { proves, type Sight } from '../../src/model/sight.ts'
import { Connections } from '../../src/walk/connections.ts'
import { Authority } from '../support/certificates.ts'
import { putInHba } from '../support/hba.ts'
import { BlackHole } from '../support/proxy.ts'
import { Scenario } from '../support/scenario.ts'

type Undo = () => Promise<unknown>

interface Given {
  readonly witness: Server
  readonly target: Server
  /** What is to be undone after the case, the last first. */
  readonly undo: (what: Undo) => void
  /** Runs a statement of a superuser. */
  readonly on: (server: Server, sql: string) => Promise<unknown>
}

interface Row {
  readonly name: string
  readonly sight: Sight
  /** Makes the situation. @returns whom the witness is asked about, where that is not the target */
  readonly make: (given: Given) => Promise<HostPort | undefined>
  /** Who is known to live; the other worker where nothing is said. */
  readonly control?: 'silent'
}

const run = promisify(execFile)
const ROLE = 'host all citus_ha 127.0.0.1/32'
const CHECK = 'pg_catalog.citus_check_connection_to_node(text, int)'

const hba =
  (...lines: string[]) =>
  async ({ target, undo }: Given) => {
    undo(await putInHba(target, lines))
    return undefined
  }

const settings =
  (of: 'witness' | 'target', wanted: Record<string, string>, restart: 'restart' | 'reload' = 'reload') =>
  async (given: Given) => {
    const server = given[of]
    const apply = async (values: Record<string, string | null>) => {
      await server.configure(values)
      if (restart === 'restart') await server.restart()
    }
    const before = await readSettings(server.directory)
    const names = Object.keys(wanted)
    given.undo(() => apply(Object.fromEntries(names.map((name) => [name, before.get(name) ?? null]))))
    await apply(wanted)
    return undefined
  }

/** A listener that does this with every connection. */
const listening =
  (act: 'closes' | 'closes after the first message' | 'speaks HTTP') => async (given: Given) => {
    const listener = createServer((socket) => {
      socket.on('error', () => undefined)
      if (act === 'closes') socket.destroy()
      else
        socket.once('data', () =>
          act === 'speaks HTTP' ? socket.end('HTTP/1.1 400 Bad Request\r\n\r\n') : socket.destroy(),
        )
    })
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
    given.undo(() => new Promise((resolve) => listener.close(resolve)))
    const address = listener.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    return { host: '127.0.0.1', port: address.port }
  }

const hole = async (given: Given) => {
  const opened = await BlackHole.open()
  given.undo(() => opened.close())
  return parseAddress(opened.address) ?? expect.fail('no address')
}

const stopped = async ({ target, undo }: Given) => {
  undo(() => target.start())
  await target.stop()
  return undefined
}

const inTurn =
  (...steps: Row['make'][]): Row['make'] =>
  async (given) => {
    let about: HostPort | undefined
    for (const step of steps) about = (await step(given)) ?? about
    return about
  }

const password = (word: string) => async (given: Given) => {
  await given.on(given.target, `ALTER ROLE citus_ha PASSWORD 'right'`)
  await given.on(given.witness, `INSERT INTO pg_dist_authinfo VALUES (0, 'citus_ha', 'password=${word}')`)
  given.undo(() => given.on(given.witness, 'DELETE FROM pg_dist_authinfo'))
  return undefined
}

const GERMAN = { lc_messages: 'de_DE.UTF-8' }
const withoutOurFunction = async (given: Given) => {
  const name = 'citus_ha.untranslate_messages()'
  await given.on(given.witness, `REVOKE EXECUTE ON FUNCTION ${name} FROM citus_ha`)
  given.undo(() => given.on(given.witness, `GRANT EXECUTE ON FUNCTION ${name} TO citus_ha`))
  return undefined
}

const ROWS: readonly Row[] = [
  { name: 'all is well', sight: 'reached', make: async () => undefined },
  { name: 'pg_hba.conf rejects the role', sight: 'answered', make: hba(`${ROLE} reject`) },
  {
    name: 'pg_hba.conf has no line for the role',
    sight: 'answered',
    make: hba('host all postgres 127.0.0.1/32 trust', 'host all all 127.0.0.1/32 reject'),
  },
  {
    name: 'pg_hba.conf wants TLS',
    sight: 'answered',
    make: hba(`hostssl all citus_ha 127.0.0.1/32 trust`, `${ROLE} reject`),
  },
  { name: 'no password', sight: 'answered', make: hba(`${ROLE} scram-sha-256`) },
  { name: 'no password, md5', sight: 'answered', make: hba(`${ROLE} md5`) },
  {
    name: 'a wrong password',
    sight: 'answered',
    make: inTurn(hba(`${ROLE} scram-sha-256`), password('wrong')),
  },
  {
    name: 'the right password',
    sight: 'reached',
    make: inTurn(hba(`${ROLE} scram-sha-256`), password('right')),
  },
  { name: 'ident, which fails', sight: 'answered', make: hba(`${ROLE} ident`) },
  {
    name: 'the role may not log in',
    sight: 'answered',
    make: async (given) => {
      await given.on(given.target, 'ALTER ROLE citus_ha NOLOGIN')
      given.undo(() => given.on(given.target, 'ALTER ROLE citus_ha LOGIN'))
      return undefined
    },
  },
  {
    name: 'no slot of the role is left',
    sight: 'answered',
    make: async (given) => {
      await given.on(given.target, 'ALTER ROLE citus_ha CONNECTION LIMIT 0')
      given.undo(() => given.on(given.target, 'ALTER ROLE citus_ha CONNECTION LIMIT -1'))
      return undefined
    },
  },
  {
    name: 'no slot of the server is left',
    sight: 'answered',
    make: inTurn(
      settings('target', { superuser_reserved_connections: '99' }, 'restart'),
      async ({ target, undo }) => {
        const last = await target.connect({ user: 'citus_ha' })
        undo(() => last.end())
        return undefined
      },
    ),
  },
  {
    name: 'the database lets nobody in',
    sight: 'answered',
    make: async (given) => {
      const { target } = given
      const allow = (value: boolean) =>
        target.query(`UPDATE pg_database SET datallowconn = ${value} WHERE datname = 'app'`, [], {
          database: 'postgres',
        })
      await allow(false)
      given.undo(() => allow(true))
      return undefined
    },
  },
  {
    name: 'it is shutting down, and waits for a client',
    sight: 'answered',
    make: async ({ target, undo }) => {
      const session = await target.connect({ database: 'postgres' })
      const stopping = target.stop('smart')
      undo(async () => {
        await session.end()
        await stopping
        await target.start()
      })
      await waitUntil(
        'it lets nobody in',
        async () =>
          (await target.connect().then(
            (other) => other.end().then(() => 'in'),
            (error) => error.code,
          )) === '57P03',
      )
      return undefined
    },
  },
  { name: 'something else listens there', sight: 'tls', make: listening('speaks HTTP') },
  {
    name: 'TLS is required, and not offered',
    sight: 'tls',
    make: settings('witness', { 'citus.node_conninfo': 'sslmode=require' }),
  },
  {
    name: 'its certificate does not verify',
    sight: 'tls',
    make: async (given) => {
      const directory = await mkdtemp(join(tmpdir(), 'citus-ha-sights-'))
      given.undo(() => rm(directory, { recursive: true }))
      const [own, other] = [await Authority.make(directory, 'own'), await Authority.make(directory, 'other')]
      const { cert, key } = await own.sign('server')
      const into = given.target.directory
      const { uid, gid } = await stat(into)
      const root = join(given.witness.directory, 'other.crt')
      for (const [from, to] of [
        [cert, join(into, 'server.crt')],
        [key, join(into, 'server.key')],
        [other.cert, root],
      ] as const) {
        await copyFile(from, to)
        await chown(to, uid, gid)
        await chmod(to, 0o600)
      }
      await settings('target', { ssl: 'on' })(given)
      return await settings('witness', {
        'citus.node_conninfo': `sslmode=verify-ca sslrootcert=${root}`,
      })(given)
    },
  },
  { name: 'it does not run', sight: 'refused', make: stopped },
  {
    name: 'it does not run, and the witness has no password for anybody',
    sight: 'refused',
    make: inTurn(hba(`${ROLE} scram-sha-256`), stopped),
  },
  { name: 'nobody ever answers there', sight: 'timeout', make: hole },
  {
    name: 'it is frozen',
    sight: 'timeout',
    make: async ({ target, undo }) => {
      target.freeze()
      undo(async () => target.thaw())
      return undefined
    },
  },
  { name: 'it closes at once', sight: 'reset', make: listening('closes') },
  { name: 'it closes in the middle', sight: 'reset', make: listening('closes after the first message') },
  { name: 'its name is nobody’s', sight: 'dns', make: async () => ({ host: 'nowhere.invalid', port: 5432 }) },
  { name: 'it does not run, and the witness is cut off', sight: 'cut-off', make: stopped, control: 'silent' },
  {
    name: 'the witness may not ask',
    sight: 'no-report',
    make: async (given) => {
      await given.on(given.witness, `REVOKE EXECUTE ON FUNCTION ${CHECK} FROM PUBLIC`)
      given.undo(() => given.on(given.witness, `GRANT EXECUTE ON FUNCTION ${CHECK} TO PUBLIC`))
      return undefined
    },
  },
  {
    name: 'pg_hba.conf rejects the role, in German',
    sight: 'answered',
    make: inTurn(hba(`${ROLE} reject`), settings('target', GERMAN)),
  },
  {
    name: 'the same, and the witness is German as well, without our function',
    sight: 'answered',
    make: inTurn(
      hba(`${ROLE} reject`),
      settings('target', GERMAN),
      settings('witness', GERMAN),
      withoutOurFunction,
    ),
  },
  {
    name: 'it does not run, and the witness is German',
    sight: 'refused',
    make: inTurn(settings('witness', GERMAN), stopped),
  },
  {
    name: 'the same without our function',
    sight: 'not-understood',
    make: inTurn(settings('witness', GERMAN), withoutOurFunction, stopped),
  },
  {
    name: 'no password, and the witness is German',
    sight: 'answered',
    make: inTurn(hba(`${ROLE} scram-sha-256`), settings('witness', GERMAN)),
  },
]

describe('what a witness sees of a real server', () => {
  let scenario: Scenario
  let access: Connections
  let locales: string
  let undo: Undo[] = []
  const before = process.env.LOCPATH

  beforeAll(async () => {
    locales = await mkdtemp(join(tmpdir(), 'citus-ha-locales-'))
    await run('chmod', ['755', locales])
    await mkdir(join(locales, 'de_DE.UTF-8'))
    await run('localedef', ['-i', 'de_DE', '-f', 'UTF-8', join(locales, 'de_DE.UTF-8')])
    process.env.LOCPATH = locales // for the servers
    scenario = await Scenario.start({ coordinatorStandbys: [], workers: [{}, {}] })
    const config = await loadConfig({
      coordinators: [scenario.cluster.coordinator.url(scenario.cluster.database, 'citus_ha')],
      env: {},
    })
    access = new Connections(config, {})
  }, 120_000)
  afterEach(async () => {
    for (const each of undo.reverse()) await each()
    undo = []
    await access.prober(scenario.cluster.database).close()
  })
  afterAll(async () => {
    await access?.close()
    await scenario?.stop()
    if (before === undefined) delete process.env.LOCPATH
    else process.env.LOCPATH = before
    await rm(locales, { recursive: true })
  })

  it.each(ROWS)('$name: $sight', async ({ make, sight, control }) => {
    const { coordinator: witness, database } = scenario.cluster
    const target = scenario.cluster.server('worker-1')
    const given: Given = {
      witness,
      target,
      undo: (what) => undo.push(what),
      on: (server, sql) => server.query(sql, [], { database }),
    }
    const about = (await make(given)) ?? target
    const other = control === 'silent' ? await hole(given) : scenario.cluster.server('worker-2')
    const said = await access.prober(database).ask(witness, about, other)
    expect(said.says, said.detail).toBe(proves(sight))
    expect(said.saw, said.detail).toBe(sight)
  })

  it('asks about several at once on connections of their own: one that hangs costs no other its answer', async () => {
    const { coordinator: witness, database } = scenario.cluster
    const [target, other] = [scenario.cluster.server('worker-1'), scenario.cluster.server('worker-2')]
    const given: Given = { witness, target, undo: (what) => undo.push(what), on: async () => undefined }
    const holes = await Promise.all([hole(given), hole(given), hole(given)])
    undo.push(await putInHba(target, [`${ROLE} reject`]))
    const prober = access.prober(database)
    const said = await Promise.all(
      [...holes, target, target].map((about) => prober.ask(witness, about, other)),
    )
    expect(said.map(({ saw }) => saw)).toEqual(['timeout', 'timeout', 'timeout', 'answered', 'answered'])
  })
})
