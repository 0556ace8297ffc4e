import { readFile } from 'node:fs/promises'
import { cpus, loadavg } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, it } from 'vitest'
import { formatAddress } from '../../src/model/node.ts'
import { Scenario } from '../support/scenario.ts'
import { WatchProcess } from '../support/watch-process.ts'

const NODES = [6, 50, 200]
const MEASURED_MS = 1000 * (Number(process.env.CITUS_HA_BENCH_SECONDS) || 60)
const AIM = { nodes: 50, cpu: 1, megabytes: 90 }
/** Linux counts processor time in hundredths of a second (USER_HZ). */
const TICK_MS = 10

let scenario: Scenario
beforeAll(async () => {
  scenario = await Scenario.start({ settings: { max_connections: '500' } })
})
afterAll(async () => {
  await scenario?.stop()
})

/** Many nodes are one server under several names: standbys of the file, each reached at a server of the cluster. */
async function configOf(nodes: number): Promise<string> {
  const { servers } = scenario.cluster
  const standbys = scenario.cluster.workers.flatMap((worker) =>
    worker.standbys.map((server) => ({ server, ...worker })),
  )
  const named = Array.from({ length: Math.max(0, nodes - servers.length) }, (_, n) => {
    const { server, group } = standbys[n % standbys.length] ?? { server: servers[0], group: 1 }
    return { address: `node-${n}.example:5432`, group, connect: server ? formatAddress(server) : '' }
  })
  return await scenario.configFile({
    standbys: named.map(({ address, group }) => ({ address, group })),
    addresses: Object.fromEntries(named.map(({ address, connect }) => [address, { connect }])),
  })
}

async function processorMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

async function residentMegabytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024
}

/** Transactions of our own sessions since they began; each of a pulse's is two statements. */
async function transactions(): Promise<number> {
  const counts = await Promise.all(
    scenario.cluster.servers.map(async (server) => {
      const sql = 'SELECT xact_commit::int AS n FROM pg_stat_database WHERE datname = $1'
      const [row] = await server.query<{ n: number }>(sql, [scenario.cluster.database])
      return row?.n ?? 0
    }),
  )
  return counts.reduce((sum, n) => sum + n, 0)
}

async function measure(nodes: number) {
  const watching = WatchProcess.start([...scenario.options, '--config', await configOf(nodes)])
  try {
    await watching.says('this instance leads')
    // Past the first surveys, and the compiler at rest.
    await pause(8000)
    const [began, cpu, xacts] = [performance.now(), await processorMs(watching.pid), await transactions()]
    await pause(MEASURED_MS)
    const seconds = (performance.now() - began) / 1000
    const used = (await processorMs(watching.pid)) - cpu
    const done = (await transactions()) - xacts
    return {
      nodes,
      'CPU s a minute': ((used / 1000 / seconds) * 60).toFixed(2),
      '% of a core': (used / 10 / seconds).toFixed(2),
      'RSS MB': (await residentMegabytes(watching.pid)).toFixed(0),
      'transactions a second and node': (done / seconds / nodes).toFixed(2),
    }
  } finally {
    await watching.stop()
  }
}

it('what watching costs while nothing happens', async () => {
  const rows = []
  for (const nodes of NODES) {
    const row = await measure(nodes)
    process.stdout.write(`${JSON.stringify(row)}, load ${loadavg()[0]?.toFixed(1)}\n`)
    rows.push(row)
  }
  process.stdout.write(
    `\n${scenario.cluster.describe()}; Node ${process.version}; ${cpus().length} cores, load ${loadavg()[0]?.toFixed(1)}\n`,
  )
  console.table(rows)
  process.stdout.write(`aim at ${AIM.nodes} nodes: < ${AIM.cpu} % of a core, < ${AIM.megabytes} MB\n`)
})
