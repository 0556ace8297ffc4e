import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { keysOf, shareOf, standin } from '../support/clients.ts'
import { PatroniCitus, patroniVersion } from '../support/tools/patroni-citus.ts'
import { installed } from '../support/tools/process.ts'
import { SteadyWriter } from '../support/tools/writer.ts'
import { WatchProcess } from '../support/watch-process.ts'

const ERROR = 50
const LIMIT = { limitMs: 60_000 }
// Before 4.0 its Citus mode knows no secondaries, and would remove their rows.
const [major = 0] = (await patroniVersion()) ?? []
const present = !standin && major >= 4 && (await installed('Patroni 4', ['etcd', 'etcdctl']))

describe.skipIf(!present)('beside Patroni’s own Citus mode', { timeout: 300_000 }, () => {
  let patroni: PatroniCitus
  let watch: WatchProcess | null = null
  let nextKey = 1000
  const server = (name: string): Server => patroni.scenario.cluster.server(name)

  beforeAll(async () => {
    patroni = await PatroniCitus.start()
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
      apply,
    })
    watch = WatchProcess.start(['--config', config])
    await watch.says('this instance leads')
    return watch
  }

  /** The group's rows, on every server that has a copy of its own. */
  async function expectRows(
    group: number,
    primary: Server,
    standby: Server,
    coordinator: Server,
  ): Promise<void> {
    const { cluster } = patroni.scenario
    const primaries = [
      coordinator,
      ...cluster.workers.map(({ group: each, primary: own }) => (each === group ? primary : own)),
    ]
    const wanted = [
      expect.stringContaining(`group ${group} primary ${formatAddress(primary)}`),
      expect.stringContaining(`group ${group} secondary ${formatAddress(standby)}`),
    ]
    for (const copy of primaries)
      await waitUntil(
        `${copy.name} is right`,
        async () => {
          expect(await patroni.scenario.rows(copy)).toEqual(expect.arrayContaining(wanted))
          return true
        },
        LIMIT,
      )
  }

  /** Clients that write all the time, while something is done. @returns how many of their rows are missing afterwards */
  async function lostDuring(work: () => Promise<unknown>): Promise<number> {
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
    return writers.flatMap(({ acknowledged }) => acknowledged).filter(({ id }) => !there.has(id)).length
  }

  it('status and doctor name it', async () => {
    const { coordinator } = patroni.scenario.cluster
    const status = await patroni.scenario.run('status')
    expect(status.stdout).toContain('Patroni writes pg_dist_node as well: 127.0.0.1 (backend ')
    const { findings } = JSON.parse((await patroni.scenario.run('doctor', '--json')).stdout)
    expect(findings.filter(({ id }: { id: string }) => id === 'H072')).toMatchObject([
      { severity: 'info', node: formatAddress(coordinator), summary: 'Patroni writes pg_dist_node as well' },
    ])
  })

  it.each([
    { what: 'waiting for it', apply: {}, back: false },
    { what: 'taking over (apply.force: 0s)', apply: { force: '0s' }, back: true },
  ])(
    'a switchover by patronictl with a watcher $what: nothing is lost, and no error is told',
    async ({ apply, back }) => {
      const [from, to] = back
        ? ([server('worker-1-standby'), server('worker-1')] as const)
        : ([server('worker-1'), server('worker-1-standby')] as const)
      const watching = await startWatch(apply)
      expect(await lostDuring(() => patroni.switchover(from, to))).toBe(0)
      await patroni.follows(from)
      await expectRows(1, to, from, server('coordinator'))
      expect(watching.lines.filter(({ level }) => level >= ERROR).map(({ msg }) => msg)).toEqual([])
    },
  )

  it('a worker’s primary that dies with its Patroni is replaced, and comes back as a standby', async () => {
    const [lost, promoted] = [server('worker-1'), server('worker-1-standby')]
    await startWatch()
    await patroni.lose(lost)
    await patroni.leads(promoted)
    patroni.startPatroni(lost)
    await patroni.follows(lost)
    await expectRows(1, promoted, lost, server('coordinator'))
  })

  it('the coordinator is switched over', async () => {
    const [from, to] = [server('coordinator'), server('coordinator-standby')]
    const watching = await startWatch()
    await patroni.switchover(from, to)
    await patroni.follows(from)
    await waitUntil(
      'it is the coordinator everywhere',
      async () => {
        for (const copy of [to, server('worker-1-standby'), server('worker-2')])
          expect(await patroni.scenario.rows(copy)).toContain(`1 group 0 primary ${formatAddress(to)}`)
        return true
      },
      LIMIT,
    )
    await watching.says(`coordinator ${formatAddress(to)}: another server leads the cluster now`)
    const report = await patroni.scenario.reconcile()
    expect(report, JSON.stringify(report)).toMatchObject({ exitCode: 0, changes: [] })
  })
})
