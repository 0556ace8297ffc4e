import { type Activity, describeSession } from '../model/activity.ts'
import { describePause } from '../model/pause.ts'
import type { StateCode } from '../model/server-state.ts'
import type { EntryStatus } from '../walk/routing.ts'
import type { GroupStatus, NodeStatus, Status } from '../walk/status.ts'
import { type Colors, plain } from './io.ts'
import { commonEnd } from './names.ts'
import { type Column, inTable, widthOf, wrapped } from './table.ts'

/** How a status is shown. */
export interface Look {
  /** `wide`: everything, as long as it is, with the routes of each kind of coordinator. */
  readonly form: 'table' | 'wide'
  readonly colors: Colors
  /** Columns of the terminal; null: nothing is cut. */
  readonly width: number | null
  /** Lines of the terminal: healthy groups take one each where not all nodes have room; null: a line a node. */
  readonly height: number | null
}

/** A status for people: who is at work, the groups and their nodes, then what is wrong, with what to do about it. Pure. */
export function renderStatus(status: Status, look: Look): string {
  const { colors } = look
  const body = look.form === 'wide' ? wideLines(status, colors) : tableLines(status, look)
  const lines = [
    ...headLines(status, look),
    ...body,
    ...status.remedies.map((remedy) => colors.yellow(`* ${plain(remedy)}`)),
    ...remarkLines(status, look),
    ...(status.pending.length > 0
      ? ['reconcile would do:', ...status.pending.map((line) => `  ${plain(line)}`)]
      : []),
  ]
  return `${lines.join('\n')}\n`
}

function headLines(status: Status, { form, colors, width }: Look): string[] {
  // The version's name and number; the compiler is for bug reports.
  const citus = form === 'wide' ? status.citus : (/^\S+ \S+/.exec(status.citus)?.[0] ?? status.citus)
  const { worst, text } = attention(status)
  const paint = { well: colors.green, warned: colors.yellow, ill: colors.red }[worst]
  return [
    `${colors.bold(plain(status.database))}  coordinator ${status.coordinator}  ${colors.dim(plain(citus))}`,
    ...workLines(status).flatMap((line) => wrapped(plain(line), width, '  ')),
    ...status.pauses.map((pause) => colors.yellow(`paused: ${plain(describePause(pause))}`)),
    paint(text),
  ]
}

function workLines({ activity, activityUnread }: Status): string[] {
  if (activityUnread !== null) return [`watchers, changes and fences could not be read: ${activityUnread}`]
  return activity ? activityLines(activity) : []
}

function activityLines({ watchers, leader, changes, fences, otherWriters }: Activity): string[] {
  const led =
    leader === null
      ? 'no leader'
      : `leader ${describeSession(leader)}${leader.since === null ? '' : ` since ${time(leader.since)}`}`
  const many =
    watchers === null
      ? `watchers: number hidden (the role lacks pg_read_all_stats), ${led}`
      : watchers.length === 0
        ? 'no watcher runs (citus-ha watch)'
        : `watchers ${watchers.length}, ${led}`
  return [
    many,
    ...changes.map((each) => `a change is running: ${describeSession(each)}${since(each.since)}`),
    ...fences.map((each) => {
      const groups = each.groups.length === 0 ? '' : ` of group ${each.groups.join(', ')}`
      return `fence: writes${groups} are held by ${describeSession(each)}${since(each.since)}`
    }),
    ...otherWriters.map((each) => `${each.program} writes pg_dist_node as well: ${describeSession(each)}`),
  ]
}

const since = (moment: string | null) => (moment === null ? '' : ` since ${time(moment)}`)

/** `2026-01-01T00:00:00.000Z` to the second. */
const time = (moment: string) => moment.replace(/\.\d+Z$/, 'Z')

type Health = 'well' | 'warned' | 'ill'

function problemsAbout({ group }: GroupStatus, { remarks, problems }: Status): number {
  return remarks.slice(0, problems.length).filter((each) => each.group === group).length
}

/** As the exit code has it: what is only warned of works. */
function healthOf(group: GroupStatus, status: Status): Health {
  const { code } = group
  if (problemsAbout(group, status) > 0) return 'ill'
  const about = status.remarks.filter((each) => each.group === group.group)
  return about.length > 0 || code !== 'healthy' ? 'warned' : 'well'
}

function attention(status: Status): { readonly worst: Health; readonly text: string } {
  const { groups, problems } = status
  const count = (health: Health) => groups.filter((group) => healthOf(group, status) === health).length
  const [ill, warned] = [count('ill'), count('warned')]
  const isOne = groups.length === 1
  const all = isOne ? 'the group' : `all ${groups.length} groups`
  if (ill > 0) {
    const some = `${ill} of ${groups.length} groups ${ill === 1 ? 'needs' : 'need'} attention`
    return { worst: 'ill', text: isOne ? 'the group needs attention' : some }
  }
  const goes = `${all} ${isOne ? 'works' : 'work'}`
  if (problems.length > 0) return { worst: 'ill', text: `${goes}; another problem is listed below` }
  if (warned > 0)
    return { worst: 'warned', text: isOne ? `${goes}, with a warning` : `${goes}, ${warned} with a warning` }
  return { worst: 'well', text: `${all} ${isOne ? 'is' : 'are'} healthy (citus-ha doctor checks more)` }
}

const COLUMNS: readonly Column[] = [
  { head: 'GROUP' },
  { head: 'STATE', least: 12 },
  { head: 'ROLE' },
  { head: 'NODE', least: 18, cut: 'middle' },
  { head: 'SERVER', least: 11 },
  { head: 'TL', align: 'right' },
  { head: 'LAG', align: 'right' },
  { head: 'ROUTES' },
]

interface Line {
  readonly cells: readonly string[]
  readonly paint: (text: string) => string
}

const asItIs = (text: string) => text

/** A header, then a line a node. */
function tableLines(status: Status, look: Look): string[] {
  const { colors, width, height } = look
  const folds =
    height !== null && status.groups.flatMap(({ nodes }) => nodes).length + status.others.length + 4 > height
  const addresses = [...status.groups.flatMap(({ nodes }) => nodes), ...status.others].map(
    ({ address }) => address,
  )
  const isIn = (group: GroupStatus) => (node: NodeStatus) => node.group === group.group
  const make = (end: string): Line[] => [
    ...status.groups.flatMap((group) => {
      const health = healthOf(group, status)
      const lines =
        folds && health === 'well' && isPlain(group)
          ? [foldedLine(group, end)]
          : nodeLines(group, end, { health, problems: problemsAbout(group, status) }, colors)
      return [...lines, ...status.others.filter(isIn(group)).map((node) => otherLine(node, '', end, colors))]
    }),
    ...status.others
      .filter((node) => !status.groups.some((group) => isIn(group)(node)))
      .map((node) => otherLine(node, '-', end, colors)),
  ]
  const inFull = inTable(COLUMNS, cellsOf(make('')), null)
  const isTooWide = width !== null && inFull.some((line) => widthOf(line) > width)
  const end = isTooWide ? commonEnd(addresses) : ''
  const lines = make(end)
  const [header = '', ...rows] = isTooWide ? inTable(COLUMNS, cellsOf(lines), width) : inFull
  const anyFolded = lines.some(({ cells }) => /\+\d/.test(cells[2] ?? ''))
  return [
    colors.dim(header),
    ...rows.map((row, n) => (lines[n]?.paint ?? asItIs)(row)),
    ...(end === '' ? [] : [colors.dim(`names of nodes end in ${end}`)]),
    ...(anyFolded
      ? [colors.dim('+1: with one streaming secondary; LAG is the largest; -o wide shows every node')]
      : []),
  ]
}

const cellsOf = (lines: readonly Line[]) => lines.map(({ cells }) => cells)

const shortened = (address: string, end: string) =>
  end !== '' && address.endsWith(end) ? address.slice(0, -end.length) : address

/** Nothing is to be told of its secondaries but that they stream. */
function isPlain({ nodes }: GroupStatus): boolean {
  return nodes.slice(1).every((node) => node.stateCode === 'streaming' && noteOf(node) === '')
}

function foldedLine(group: GroupStatus, end: string): Line {
  const [primary, ...others] = group.nodes
  const lags = others.flatMap(({ lagBytes }) => (lagBytes === null ? [] : [lagBytes]))
  const [server = '', timeline = ''] = primary ? serverCells(primary) : []
  return {
    cells: [
      `${group.group}`,
      stateOf(group, 0),
      others.length === 0 ? 'primary' : `primary +${others.length}`,
      primary ? shortened(primary.address, end) : '',
      server,
      timeline,
      lags.length === 0 ? '' : sizeOf(Math.max(...lags)),
      routesOf(group.routes),
    ],
    paint: asItIs,
  }
}

function nodeLines(
  group: GroupStatus,
  end: string,
  { health, problems }: { readonly health: Health; readonly problems: number },
  colors: Colors,
): Line[] {
  return group.nodes.map((node, n) => ({
    cells: [
      n === 0 ? `${group.group}` : '',
      n === 0 ? stateOf(group, problems) : '',
      node.registeredAs ?? '-',
      shortened(node.address, end),
      ...serverCells(node),
      n === 0 ? routesOf(group.routes) : '',
    ],
    paint: isBad(node) || (n === 0 && health === 'ill') ? colors.red : asItIs,
  }))
}

/** A node that no row names. */
function otherLine(node: NodeStatus, group: string, end: string, colors: Colors): Line {
  return {
    cells: [group, '', 'no row', shortened(node.address, end), ...serverCells(node), ''],
    paint: isBad(node) ? colors.red : colors.dim,
  }
}

/** The diagnosis is of the primary: a healthy one has no word for what is wrong beside it. */
function stateOf({ code, paused }: GroupStatus, problems: number): string {
  const word = code === 'healthy' && problems > 0 ? countOf(problems) : code
  return `${word}${paused ? ', paused' : ''}`
}

const countOf = (problems: number) => (problems === 1 ? '1 problem' : `${problems} problems`)

/** The columns SERVER, TL and LAG. */
function serverCells(node: NodeStatus): string[] {
  return [
    `${plain(node.state)}${noteOf(node)}`,
    node.timeline === null ? '' : `${node.timeline}`,
    node.lagBytes === null ? '' : sizeOf(node.lagBytes),
  ]
}

function noteOf({ active, cluster, isAlias }: NodeStatus): string {
  const also = isAlias ? ', second name of the primary' : ''
  const where = cluster === null || cluster === 'default' ? '' : `, cluster ${plain(cluster)}`
  return `${also}${active === false ? ', inactive' : ''}${where}`
}

/** Whether reads and writes of the group work from everywhere. A write that is refused before it is sent is meant to be. */
function routesOf(routes: readonly EntryStatus[]): string {
  const works = (of: 'read' | 'write', how: EntryStatus['read']['works']) =>
    routes.some((each) => each[of].works === how && !(of === 'write' && each.write.to === null))
  const fail = (['read', 'write'] as const).filter((of) => works(of, 'no'))
  if (fail.length > 0) return `${fail.map((of) => `${of}s`).join(', ')} fail`
  return works('read', 'unknown') || works('write', 'unknown') ? 'may fail' : 'ok'
}

/** What is wrong, worst first, each with what to do about it. */
function remarkLines(status: Status, { colors, width }: Look): string[] {
  const lines = foldedRemarks(status)
  return lines.flatMap(({ text, next, isProblem, groups }, n) => {
    const paint = isProblem ? colors.red : colors.yellow
    const said = wrapped(`! ${plain(text)}`, width, '  ').map(paint)
    // As one line, however long: it is to be copied.
    const isSaid = lines.slice(0, n).some((each) => each.next === next && `${each.groups}` === `${groups}`)
    return next === null || isSaid ? said : [...said, `  next: ${plain(next)}`]
  })
}

interface RemarkLine {
  readonly text: string
  readonly next: string | null
  readonly isProblem: boolean
  readonly groups: readonly (number | null)[]
}

/** The same of several servers, with the same mend, is one line that names them. */
function foldedRemarks({ remarks, problems }: Status): RemarkLine[] {
  const lines = new Map<string, { readonly nodes: string[]; readonly groups: (number | null)[] }>()
  const said = remarks.map((each, n) => {
    const { code, text, next, group, node } = each
    const [isProblem, rest] = [n < problems.length, restOf(each)]
    const key = JSON.stringify(rest === null ? n : [code, next, isProblem, rest])
    const line = lines.get(key) ?? { nodes: [], groups: [] }
    lines.set(key, line)
    if (node !== null && !line.nodes.includes(node)) line.nodes.push(node)
    if (!line.groups.includes(group)) line.groups.push(group)
    return { key, text, rest, next, isProblem }
  })
  return [...lines].flatMap(([key, { nodes, groups }]): RemarkLine[] => {
    const first = said.find((each) => each.key === key)
    if (!first) return []
    const where = `${groups.length === 1 ? 'group' : 'groups'} ${groups.join(', ')}: ${nodes.join(', ')}`
    return [{ ...first, groups, text: nodes.length < 2 ? first.text : `${where}: ${first.rest}` }]
  })
}

/** What is said of the server of a group, without their names; null where it does not begin with them. */
function restOf({ group, node, text }: Status['remarks'][number]): string | null {
  const names = `group ${group}: ${node}: `
  return group !== null && node !== null && text.startsWith(names) ? text.slice(names.length) : null
}

function wideLines(status: Status, colors: Colors): string[] {
  return [
    ...status.groups.flatMap((group) => groupLines(group, problemsAbout(group, status), colors)),
    ...(status.others.length > 0 ? ['not in pg_dist_node', ...tree(status.others, colors)] : []),
  ]
}

function groupLines(group: GroupStatus, problems: number, colors: Colors): string[] {
  const paint = group.code === 'healthy' && problems === 0 ? colors.green : colors.red
  const paused = group.paused ? `  ${colors.yellow('paused')}` : ''
  return [
    `group ${group.group}  ${paint(stateOf({ ...group, paused: false }, problems))}${paused}`,
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
    Math.max(...cells.map((row) => widthOf(row[column] ?? ''))),
  )
  return cells.map((row) =>
    row
      .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - widthOf(cell)))
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

const isBad = ({ stateCode }: NodeStatus) => BAD.includes(stateCode)

function tree(nodes: readonly NodeStatus[], colors: Colors): string[] {
  const cells = nodes.map((node) => [
    node.registeredAs ?? '-',
    node.address,
    node.state,
    node.timeline === null ? '' : `timeline ${node.timeline}`,
    node.lagBytes === null ? '' : `lag ${sizeOf(node.lagBytes)}`,
    node.upstream === null ? '' : `from ${node.upstream}`,
    node.kind === null ? '' : node.kind,
    node.isAlias ? 'second name of the primary' : '',
    node.active === false ? 'inactive' : '',
    node.cluster === null || node.cluster === 'default' ? '' : `cluster ${node.cluster}`,
  ])
  return inColumns(cells).map((text, n) => {
    const branch = n === cells.length - 1 ? '└─' : '├─'
    const node = nodes[n]
    return `${branch} ${node && isBad(node) ? colors.red(text) : text}`
  })
}

function sizeOf(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const power = bytes === 0 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10))
  const value = bytes / 1024 ** power
  return `${power === 0 ? value : value.toFixed(1)} ${units[power]}`
}
