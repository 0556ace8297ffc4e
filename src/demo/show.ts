import { join } from 'node:path'
import type { createColors } from 'picocolors'
import type { Cluster } from './cluster.ts'
import type { Server } from './server.ts'
import { PHASES, type Writers } from './writers.ts'

export type Colors = ReturnType<typeof createColors>

/** Columns by their widest cell, the last one as it is; styled after they were measured. */
export function columns(
  rows: readonly (readonly string[])[],
  paint: (line: string, row: number) => string = (line) => line,
): string[] {
  const count = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: count }, (_, n) => Math.max(...rows.map((row) => row[n]?.length ?? 0)))
  return rows.map((row, n) => {
    const line = row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')
    return paint(line.trimEnd(), n)
  })
}

/** `870 ms`, `4.2 s`. */
export function duration(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

const ROLE = `select case when pg_is_in_recovery()
                          then coalesce((select status from pg_stat_wal_receiver), 'not streaming')
                          else 'writable' end as state`

/** The servers as a tree, with what each says of itself now. */
export async function topology(cluster: Cluster): Promise<string[]> {
  const groups = [
    { group: 0, primary: cluster.coordinator, standbys: cluster.coordinatorStandbys },
    ...cluster.workers,
  ]
  const rows: string[][] = []
  for (const { group, primary, standbys } of groups) {
    rows.push([primary.name, addressOf(primary), `group ${group}`, await stateOf(primary)])
    for (const [n, standby] of standbys.entries()) {
      const branch = n === standbys.length - 1 ? '└─' : '├─'
      const state = `${await stateOf(standby)} from ${primary.name}`
      rows.push([`${branch} ${standby.name}`, addressOf(standby), '', state])
    }
  }
  return columns(rows)
}

/** How to connect to every server, and what it is now. */
export async function urls(cluster: Cluster): Promise<string[]> {
  const states = await Promise.all(cluster.servers.map(stateOf))
  return columns(cluster.servers.map((server, n) => [server.name, server.url(), states[n] ?? '']))
}

async function stateOf(server: Server): Promise<string> {
  const [row] = await server.query<{ state: string }>(ROLE)
  return row?.state ?? 'unknown'
}

/** `127.0.0.1:24214`. */
export function addressOf({ host, port }: Server): string {
  return `${host}:${port}`
}

interface Row {
  readonly nodename: string
  readonly nodeport: number
  readonly noderole: 'primary' | 'secondary'
  readonly isactive: boolean
}

const ROWS = `select nodename, nodeport, noderole::text, isactive from pg_dist_node
               where groupid = $1 order by noderole, nodeid`

/** What is to be read where: the copies of a worker group's rows, and which server should be its primary. */
interface Wanted {
  readonly group: number
  readonly copies: readonly Server[]
  readonly primary: Server
}

/** A worker group's rows of pg_dist_node in each copy, and whether writes would find the primary by it. */
export async function copies(cluster: Cluster, wanted: Wanted, colors: Colors): Promise<string[]> {
  const read = await Promise.all(
    wanted.copies.map(async (server) => {
      const rows = await server.query<Row>(ROWS, [wanted.group]).catch((error: unknown) => String(error))
      return { server, rows }
    }),
  )
  const right = read.map(({ rows }) => isRight(rows, wanted.primary))
  const cells = read.map(({ server, rows }, n) => {
    const text = typeof rows === 'string' ? [rows] : rows.map((row) => rowText(row, cluster))
    return [right[n] ? '✓' : '✗', server.name, ...text]
  })
  return columns(cells, (line, n) => (right[n] ? colors.green(line) : colors.red(line)))
}

function isRight(rows: readonly Row[] | string, { host, port }: Server): boolean {
  if (typeof rows === 'string') return false
  return rows.some((row) => row.noderole === 'primary' && row.nodename === host && row.nodeport === port)
}

function rowText({ nodename, nodeport, noderole, isactive }: Row, cluster: Cluster): string {
  const server = cluster.servers.find(({ port }) => port === nodeport)
  const state = [server?.isRunning ? '' : 'dead', isactive ? '' : 'inactive'].filter((word) => word !== '')
  const note = state.length === 0 ? '' : `, ${state.join(', ')}`
  return `${noderole} ${nodename}:${nodeport} (${server?.name ?? '?'}${note})`
}

/** Where the stand-in, which runs no distributed query, says that a write to the group would go now. */
export async function routes(
  cluster: Cluster,
  group: number,
  entries: readonly Server[],
  colors: Colors,
): Promise<string[]> {
  const lines = await Promise.all(
    entries.map(async (entry) => {
      const route = `select citus_standin.route($1, 'write') as address`
      const [row] = await entry.query<{ address: string }>(route, [group])
      const server = cluster.servers.find((each) => addressOf(each) === row?.address)
      const alive = server?.isRunning === true
      const text = `a write through ${entry.name} would go to ${server?.name ?? row?.address}`
      return alive ? colors.green(`✓ ${text}`) : colors.red(`✗ ${text}, which is dead`)
    }),
  )
  return lines
}

/** Writes of every client in every phase, and how long it had to do without. */
export function tallies(writers: Writers, colors: Colors): string[] {
  const head = ['through', ...PHASES, 'longest gap']
  const rows = writers.all.map((writer) => {
    const counts = PHASES.map((phase) => `${writer.tally(phase).ok} / ${writer.tally(phase).failed}`)
    return [writer.through.name, ...counts, duration(writer.longestGapMs)]
  })
  return columns([head, ...rows], (line, n) => (n === 0 ? colors.dim(line) : line))
}

/** What a person can do to a cluster that goes on running: break it, look at it, mend it, end it. */
export function byHand(
  cluster: Cluster,
  victim: { readonly primary: Server; readonly heir: Server },
  program: string,
  config: string,
): string[] {
  const lines = [
    '',
    'Break it by hand:',
    `  kill -9 $(head -n 1 ${join(victim.primary.directory, 'postmaster.pid')})`,
    `  psql ${victim.heir.url()} -c 'select pg_promote()'`,
    'See what is wrong, and fix it:',
    `  ${program} status --config ${config}`,
    `  ${program} reconcile --config ${config}`,
    'Stop the demo and remove its files:',
    `  ${program} demo --stop ${cluster.directory}`,
  ]
  if (cluster.backend.kind === 'citus') return lines
  const ended =
    'The stand-in’s metadata sync ends with this command: from now on only reconcile changes the copies.'
  return [...lines, ended]
}
