import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Account, serverAccount } from '../../src/demo/account.ts'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { openTransaction, standin } from '../support/clients.ts'
import { killedAt, leftPrepared, sentIsDone } from '../support/crash.ts'
import { type Block, markedBlocks, programs, type Ran, runBlock } from '../support/machines.ts'
import { restoreAt, takeBackup } from '../support/restored.ts'
import { Scenario } from '../support/scenario.ts'
import { WatchProcess } from '../support/watch-process.ts'

/** The page's machines. */
const MACHINES = {
  cn1: 'coordinator',
  cn2: 'coordinator-standby',
  w1a: 'worker-1',
  w1b: 'worker-1-standby',
  w2a: 'worker-2',
  w2b: 'worker-2-standby',
} as const
type Machine = keyof typeof MACHINES

const DATA = '/var/lib/postgresql/15/main'
const CONFIG = '/etc/postgresql/15/main/postgresql.conf'
const blocks = await markedBlocks('runbooks.md')

/** What brings a symptom about, and what is seen besides. */
interface Trial {
  readonly heading: string
  /** Of several ways to do it, the mark of the one that is tried. */
  readonly way?: string
  readonly breaks: () => Promise<void>
  /** What the look shows, and its exit code. */
  readonly shows: RegExp
  readonly exitCode: number
  /** Before the commands of the n-th block that is to be done. */
  readonly before?: (n: number) => Promise<void>
  /** Of what says that it is over; not given: 0. */
  readonly endsWith?: number
  readonly ended: (over: Ran) => Promise<void>
}

const nameOf = ({ heading, way }: Trial) => (way === undefined ? heading : `${heading}: ${way}`)

describe.skipIf(standin)('docs/runbooks.md', () => {
  let scenario: Scenario
  let account: Account | null
  let env: NodeJS.ProcessEnv
  let watcher: WatchProcess | null = null
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const sql = (name: string, text: string) => server(name).query(text)

  beforeAll(async () => {
    // pg_rewind wants both.
    scenario = await Scenario.start({ settings: { wal_log_hints: 'on', full_page_writes: 'on' } })
    account = await serverAccount()
    const { directory, binaries, database } = scenario.cluster
    const coordinators = ['coordinator', 'coordinator-standby'].map((name) => ({
      url: server(name).url(database, 'citus_ha'),
    }))
    const bin = await programs(directory, {})
    env = {
      PATH: `${bin}:${binaries.bindir}:${process.env.PATH}`,
      HOME: directory,
      LC_ALL: 'C.UTF-8',
      CITUS_HA_CONFIG: await scenario.configFile({ coordinators }),
    }
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    await watcher?.stop()
    watcher = null
    await endStrays()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** Servers that a page's own pg_ctl has started are none that the cluster knows of. */
  async function endStrays(): Promise<void> {
    for (const { directory, isRunning } of scenario.cluster.servers) {
      const pidFile = await readFile(join(directory, 'postmaster.pid'), 'utf8').catch(() => null)
      if (pidFile === null || isRunning) continue
      await runBlock(`pg_ctl stop -m immediate -D ${directory} || true`, { account, env })
    }
  }

  /** As it stands on the page, with this machine's addresses and directories. */
  function forHere({ text, marks }: Block): string {
    const machine = marks.find((mark): mark is Machine => mark in MACHINES)
    const named = Object.entries(MACHINES).reduce((changed, [name, own]) => {
      const { host, port } = server(own)
      return changed
        .replaceAll(`${name}.example:5432`, `${host}:${port}`)
        .replaceAll(`-h ${name}.example -p 5432`, `-h ${host} -p ${port}`)
        .replaceAll(`host=${name}.example port=5432`, `host=${host} port=${port}`)
    }, text)
    expect(named).not.toContain('.example')
    if (machine === undefined) return named
    const { directory, port } = server(MACHINES[machine])
    // Here the configuration is in the data directory, and pg_rewind brings the other server's.
    const log = join(scenario.cluster.directory, 'page.log')
    return named
      .replaceAll('pg_ctlcluster 15 main stop', `pg_ctl stop -m fast -D ${directory}`)
      .replaceAll('pg_ctlcluster 15 main start', `pg_ctl start -D ${directory} -l ${log} -o "-p ${port}"`)
      .replaceAll('/usr/lib/postgresql/15/bin', scenario.cluster.binaries.bindir)
      .replaceAll(CONFIG, join(directory, 'postgresql.conf'))
      .replaceAll(DATA, directory)
  }

  const run = (block: Block) => runBlock(forHere(block), { account, env })

  const marked = (heading: string, mark: string): Block[] =>
    blocks.filter((block) => block.heading === heading && block.marks[0] === mark)

  async function failOver(): Promise<void> {
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
  }

  /** Each copy names the group's primary, and writes of every row arrive, from the coordinator and from a worker. */
  async function expectWorks(primary: string, coordinator = 'coordinator'): Promise<void> {
    const group = Number(/^worker-(\d)/.exec(primary)?.[1])
    for (const name of [coordinator, 'worker-2', primary]) {
      const rows = await scenario.rows(server(name))
      expect(rows, name).toContain(`${group + 1} group ${group} primary ${at(primary)}`)
    }
    for (const name of [coordinator, 'worker-2'])
      await sql(name, `UPDATE items SET note = 'after, from ${name}'`)
    expect(await sql(primary, 'SELECT FROM pg_prepared_xacts')).toEqual([])
  }

  const writesGoTo = (primary: string, coordinator?: string) => () => expectWorks(primary, coordinator)

  const TRIALS: readonly Trial[] = [
    {
      heading: 'Writes fail after a failover',
      breaks: failOver,
      shows: /^1 +promoted /m,
      exitCode: 3,
      ended: writesGoTo('worker-1-standby'),
    },
    {
      heading: 'Refused',
      way: 'primary-down',
      breaks: () => server('worker-1').kill(),
      shows: /primary-down \(D071\).*[\s\S]*citus-ha explain D071/,
      exitCode: 3,
      ended: writesGoTo('worker-1-standby'),
    },
    {
      heading: 'Refused',
      way: 'restored',
      breaks: async () => {
        const backup = await takeBackup(scenario.cluster, server('worker-1'), 'backup')
        await sql('coordinator', `UPDATE items SET note = 'not in the backup'`)
        await scenario.cluster.waitForReplay(server('worker-1-standby'), server('worker-1'))
        await scenario.run('reconcile')
        await restoreAt(server('worker-1'), backup)
      },
      shows: /(less-than-known|lineage-mismatch) \(D04[23]\)/,
      exitCode: 3,
      ended: writesGoTo('worker-1'),
    },
    {
      heading: 'Blocked',
      breaks: async () => {
        await failOver()
        const lock = 'LOCK TABLE pg_dist_node IN ROW EXCLUSIVE MODE'
        const holder = await openTransaction(server('coordinator'), scenario.cluster.database, lock)
        holder.on('error', () => undefined)
      },
      shows: /blocked by: .*postgres/,
      exitCode: 4,
      ended: writesGoTo('worker-1-standby'),
    },
    {
      heading: 'Split brain',
      breaks: () => server('worker-1-standby').promote(),
      shows: /^1 +split-brain /m,
      exitCode: 3,
      ended: writesGoTo('worker-1-standby'),
    },
    {
      heading: 'A copy differs',
      breaks: async () => {
        await sql('worker-2', `UPDATE pg_dist_node SET nodeport = nodeport + 1 WHERE groupid = 1`)
      },
      shows: /H071 copy-differs[\s\S]*citus-ha explain .*H071/,
      exitCode: 3,
      ended: writesGoTo('worker-1'),
    },
    {
      heading: 'In doubt',
      breaks: async () => {
        await failOver()
        expect(await killedAt('all-prepared', ['reconcile', ...scenario.options])).toBe('SIGKILL')
        await sentIsDone(scenario)
        expect(await leftPrepared(scenario)).not.toEqual([])
      },
      shows: /citus_ha_/,
      exitCode: 0,
      ended: writesGoTo('worker-1-standby'),
    },
    {
      heading: 'The coordinator is gone',
      breaks: () => server('coordinator').kill(),
      shows: /no writable coordinator answers/,
      exitCode: 4,
      ended: async () => {
        await expectWorks('worker-1', 'coordinator-standby')
        const status = await runBlock('citus-ha status', { account, env })
        expect(status.output).toContain(`coordinator ${at('coordinator-standby')}`)
      },
    },
    {
      heading: 'The old primary came back',
      breaks: async () => {
        await failOver()
        expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
        await server('worker-1').start()
      },
      shows: /split-brain|old-primary/,
      exitCode: 3,
      before: async (n) => {
        if (n === 1) await scenario.streams(server('worker-1'))
      },
      ended: async ({ output }) => {
        await expectWorks('worker-1-standby')
        expect(output).toMatch(new RegExp(`secondary +${at('worker-1')} +streaming`))
      },
    },
    {
      heading: 'Paused and forgotten',
      breaks: async () => {
        watcher = WatchProcess.start(['--config', `${env.CITUS_HA_CONFIG}`])
        await watcher.says('leads')
        expect(await scenario.run('pause', '--reason', 'a test')).toMatchObject({ exitCode: 0 })
        await failOver()
        await watcher.says('no action (paused)')
      },
      shows: /paused: .*a test/,
      exitCode: 3,
      // The old primary is down.
      endsWith: 3,
      ended: async ({ output }) => {
        expect(output).not.toContain('paused')
        await expectWorks('worker-1-standby')
      },
    },
    {
      heading: 'An upgrade in progress',
      breaks: async () => {
        const older = `UPDATE pg_proc SET prosrc = prosrc || ' -- older'
          WHERE pronamespace = 'citus_ha'::regnamespace AND proname = 'rewrite'`
        await sql('worker-2', `SET allow_system_table_mods = on; ${older}`)
      },
      shows: /H140 not-installed/,
      exitCode: 3,
      ended: async () => {
        expect((await scenario.run('status')).stdout).not.toContain('paused')
        await failOver()
        expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
        await expectWorks('worker-1-standby')
      },
    },
  ]

  it('has a trial of each of its ways', () => {
    const ways = blocks
      .filter(({ marks }) => marks[0] === 'do')
      .map(({ heading, marks: [, mark] }) =>
        mark === undefined || mark in MACHINES ? heading : `${heading}: ${mark}`,
      )
    const tried = TRIALS.map(nameOf)
    expect(tried.sort()).toEqual([...new Set(ways)].sort())
  })

  it.each(TRIALS.map((trial) => ({ ...trial, name: nameOf(trial) })))(
    '$name',
    { timeout: 180_000 },
    async ({ heading, way, breaks, shows, exitCode, before, endsWith = 0, ended }) => {
      await breaks()
      const [look] = marked(heading, 'look')
      const looked = look && (await run(look))
      expect(looked?.output).toMatch(shows)
      expect(looked?.exitCode, looked?.output).toBe(exitCode)
      const steps = marked(heading, 'do').filter(({ marks }) => way === undefined || marks.includes(way))
      expect(steps.length).toBeGreaterThan(0)
      for (const [n, step] of steps.entries()) {
        await before?.(n)
        const done = await run(step)
        expect(done.exitCode, `${step.text}\n${done.output}`).toBe(0)
      }
      const [last] = marked(heading, 'over')
      const over = last && (await run(last))
      expect(over?.exitCode, over?.output).toBe(endsWith)
      if (over) await ended(over)
    },
  )
})
