import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { keysOf, shareOf, standin } from '../support/clients.ts'
import { PatroniCitus, type PatroniMode, patroniVersion } from '../support/tools/patroni-citus.ts'
import { installed } from '../support/tools/process.ts'
import { SteadyWriter } from '../support/tools/writer.ts'
import { WatchProcess } from '../support/watch-process.ts'

const ERROR = 50
const LIMIT = { limitMs: 60_000 }
// Before 4.0 its Citus mode knows no secondaries, and would remove their rows.
const [major = 0] = (await patroniVersion()) ?? []
const present = !standin && major >= 4 && (await installed('Patroni 4', ['etcd', 'etcdctl']))
const MODES: readonly PatroniMode[] = ['with its Citus mode', 'without its Citus mode']

// What Patroni's own features/citus.feature expects of its Citus mode, with a watcher beside it, and with one instead of it.
describe.skipIf(!present).each(MODES)('beside Patroni %s', { timeout: 300_000 }, (mode) => {
  const isCitusMode = mode === 'with its Citus mode'
  let patroni: PatroniCitus
  let watch: WatchProcess | null = null
  let nextKey = 1000
  const server = (name: string): Server => patroni.scenario.cluster.server(name)

  beforeAll(async () => {
    patroni = await PatroniCitus.start(mode)
  })
  afterEach(async () => {
    await watch?.stop()
    watch = null
  })
  afterAll(async () => {
    await patroni?.stop()
  })

  async function startWatch(apply: object = {}): Promise<WatchProcess> {
    const { cluster } = patroni.scenario
    const config = await patroni.scenario.configFile({
      coordinators: [cluster.coordinator, ...cluster.coordinatorStandbys].map((one) => ({
        url: one.url(cluster.database, 'citus_ha'),
      })),
      // Rows of secondaries that are back are not left until later.
      detect: { cooldown: '1s' },
      apply,
    })
    watch = WatchProcess.start(['--config', config])
    await watch.says('this instance leads')
    return watch
  }

  /** Both rows of a group, in the copies of `holders`. */
  async function expectRows(
    group: number,
    primary: Server,
    standby: Server,
    holders: readonly Server[],
  ): Promise<void> {
    const wanted = [
      expect.stringContaining(`group ${group} primary ${formatAddress(primary)}`),
      expect.stringContaining(`group ${group} secondary ${formatAddress(standby)}`),
    ]
    for (const copy of holders)
      await waitUntil(
        `${copy.name} is right`,
        async () => {
          expect(await patroni.scenario.rows(copy)).toEqual(expect.arrayContaining(wanted))
          return true
        },
        LIMIT,
      )
  }

  /** Of group 1, everywhere. */
  async function expectWorker(primary: Server, standby: Server): Promise<void> {
    await patroni.follows(standby)
    await expectRows(1, primary, standby, [server('coordinator'), server('worker-2'), primary])
  }

  /** Clients that write to group 1 all the time, through two nodes, while something is done. Every row that was acknowledged is there. */
  async function keepsRows(work: () => Promise<unknown>): Promise<void> {
    const { cluster } = patroni.scenario
    const keys = await keysOf(cluster, 1, nextKey, nextKey + 20_000)
    nextKey += 20_001
    const entries = ['coordinator', 'worker-2'].map(server)
    const writers = entries.map((entry, n) => new SteadyWriter(entry, cluster.database, shareOf(keys, n, 2)))
    const write = async () => {
      const since = performance.now()
      await waitUntil('every client writes', () => writers.every((each) => each.since(since) > 20), LIMIT)
    }
    try {
      await write()
      await work()
      await write()
    } finally {
      await Promise.all(writers.map((each) => each.stop()))
    }
    const rows = await cluster.coordinator.query<{ id: number }>('SELECT id FROM items', [], cluster)
    const there = new Set(rows.map(({ id }) => id))
    const lost = writers.flatMap(({ acknowledged }) => acknowledged).filter(({ id }) => !there.has(id))
    expect(lost).toEqual([])
  }

  const errorsOf = ({ lines }: WatchProcess) =>
    lines.filter(({ level }) => level >= ERROR).map(({ msg }) => msg)

  it('status and doctor say who manages what', async () => {
    const { coordinator } = patroni.scenario.cluster
    const status = await patroni.scenario.run('status')
    const line = 'Patroni writes pg_dist_node as well: 127.0.0.1 (backend '
    expect(status.stdout.includes(line)).toBe(isCitusMode)
    const { findings } = JSON.parse((await patroni.scenario.run('doctor', '--json')).stdout)
    const of = (wanted: string) => findings.filter(({ id }: { id: string }) => id === wanted)
    const writes = { severity: 'info', node: formatAddress(coordinator) }
    expect(of('H072')).toMatchObject(isCitusMode ? [writes] : [])
    expect(of('H073').map(({ group }: { group: number }) => group)).toEqual([0, 1, 2])
  })

  it('a switchover of the coordinator, and back', async () => {
    const pair = [server('coordinator'), server('coordinator-standby')] as const
    const watching = await startWatch()
    for (const [from, to] of [pair, [pair[1], pair[0]] as const]) {
      await patroni.switchover(from, to)
      await patroni.follows(from)
      for (const copy of [to, server('worker-1'), server('worker-2')])
        await waitUntil(
          `${copy.name} is right`,
          async () => {
            const rows = await patroni.scenario.rows(copy)
            expect(rows).toContainEqual(expect.stringContaining(`group 0 primary ${formatAddress(to)}`))
            return true
          },
          LIMIT,
        )
      await watching.says(`coordinator ${formatAddress(to)}: another server leads the cluster now`)
    }
  })

  it.each([
    { what: 'waits for what is in the way', apply: {} },
    { what: 'terminates it (apply.force: 0s)', apply: { force: '0s' } },
  ])('a switchover of a worker, and back, under inserts; the watcher $what', async ({ apply }) => {
    const [a, b] = [server('worker-1'), server('worker-1-standby')]
    const watching = await startWatch(apply)
    await keepsRows(async () => {
      await patroni.switchover(a, b)
      await expectWorker(b, a)
      await patroni.switchover(b, a)
      await expectWorker(a, b)
    })
    expect(errorsOf(watching)).toEqual([])
  })

  it('a restart of a worker’s primary under inserts', async () => {
    await startWatch()
    await keepsRows(() => patroni.restart(server('worker-1')))
    await expectWorker(server('worker-1'), server('worker-1-standby'))
  })

  it('a worker’s primary that dies with its Patroni is replaced, and comes back as a standby', async () => {
    const [lost, promoted] = [server('worker-1'), server('worker-1-standby')]
    await startWatch()
    await patroni.lose(lost)
    await patroni.leads(promoted)
    patroni.startPatroni(lost)
    await expectWorker(promoted, lost)
    const report = await patroni.scenario.reconcile()
    expect(report, JSON.stringify(report)).toMatchObject({ exitCode: 0, changes: [] })
  })

  it('the coordinator and a worker at once', async () => {
    const { coordinator } = patroni.scenario.cluster
    const [primary, standby] = [server('worker-1-standby'), server('worker-1')]
    await startWatch()
    await Promise.all([
      patroni.switchover(coordinator, server('coordinator-standby')),
      patroni.switchover(primary, standby),
    ])
    await patroni.follows(coordinator)
    await patroni.follows(primary)
    await expectRows(1, standby, primary, [server('coordinator-standby'), server('worker-2'), standby])
  })
})
