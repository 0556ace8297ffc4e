import { describePause } from '../model/pause.ts'
import type { StateCode } from '../model/server-state.ts'
import type { EntryStatus } from '../walk/routing.ts'
import type { GroupStatus, NodeStatus, Status } from '../walk/status.ts'
import { type Colors, colorsFor, type Io, plain } from './io.ts'

/** A status for people: a tree of groups and nodes, then what is wrong. */
export function renderStatus(status: Status, io: Io): string {
  const colors = colorsFor(io.stdout, io.env)
  const lines = [
    `${colors.bold(plain(status.database))}  coordinator ${status.coordinator}  ${colors.dim(status.citus)}`,
    ...status.pauses.map((pause) => colors.yellow(`paused: ${plain(describePause(pause))}`)),
    ...status.groups.flatMap((group) => groupLines(group, colors)),
    ...(status.others.length > 0 ? ['in no row of pg_dist_node', ...tree(status.others, colors)] : []),
    ...status.remedies.map((remedy) => colors.yellow(`* ${plain(remedy)}`)),
    ...status.problems.map((problem) => colors.red(`! ${plain(problem)}`)),
    ...status.warnings.map((warning) => colors.yellow(`! ${plain(warning)}`)),
    ...(status.pending.length > 0
      ? ['reconcile would do:', ...status.pending.map((line) => `  ${plain(line)}`)]
      : []),
  ]
  return `${lines.join('\n')}\n`
}

function groupLines(group: GroupStatus, colors: Colors): string[] {
  const paint = group.code === 'healthy' ? colors.green : colors.red
  const paused = group.paused ? `  ${colors.yellow('paused')}` : ''
  return [
    `group ${group.group}  ${paint(group.code)}${paused}`,
    ...tree(group.nodes, colors),
    ...routeLines(group.routes, colors),
  ]
}

/** A line for each kind of coordinator: where a read goes, where a write. */
function routeLines(routes: readonly EntryStatus[], colors: Colors): string[] {
  const cells = routes.map(({ kind, nodes, cluster, stale, read, write }) => [
    `${kind} ${nodes.length === 1 ? nodes[0] : `(${nodes.length})`}${stale ? ', stale' : ''}`,
    cluster === null || cluster === 'default' ? '' : `cluster ${cluster}`,
    `reads ${goes(read)}`,
    `writes ${goes(write)}`,
  ])
  const lines = inColumns(cells)
  return lines.map((line, n) => {
    const route = routes[n]
    const isBad = route?.read.works === 'no' || (route?.write.works === 'no' && route.write.to !== null)
    return `   ${isBad ? colors.red(line) : colors.dim(line)}`
  })
}

function goes({ to, works, why }: EntryStatus['read']): string {
  if (works === 'yes') return `${to}`
  const doubt = works === 'no' ? 'fail' : 'may fail'
  return to === null ? `refused: ${why}` : `${doubt} at ${to}: ${why}`
}

function inColumns(cells: readonly (readonly string[])[]): string[] {
  const widths = (cells[0] ?? []).map((_, column) =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0)),
  )
  return cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

const BAD: readonly StateCode[] = [
  'unreachable',
  'unreadable',
  'not-streaming',
  'streams-elsewhere',
  'not-asked',
]

function tree(nodes: readonly NodeStatus[], colors: Colors): string[] {
  const cells = nodes.map((node) => [
    node.registeredAs ?? '-',
    node.address,
    node.state,
    node.timeline === null ? '' : `timeline ${node.timeline}`,
    node.lagBytes === null ? '' : `lag ${sizeOf(node.lagBytes)}`,
    node.upstream === null ? '' : `from ${node.upstream}`,
    node.kind === null ? '' : node.kind,
    node.active === false ? 'inactive' : '',
    node.cluster === null || node.cluster === 'default' ? '' : `cluster ${node.cluster}`,
  ])
  return inColumns(cells).map((text, n) => {
    const branch = n === cells.length - 1 ? '└─' : '├─'
    const bad = BAD.includes(nodes[n]?.stateCode ?? 'not-asked')
    return `${branch} ${bad ? colors.red(text) : text}`
  })
}

function sizeOf(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const power = bytes === 0 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10))
  const value = bytes / 1024 ** power
  return `${power === 0 ? value : value.toFixed(1)} ${units[power]}`
}
