import type { EntryStatus, RouteStatus } from '../walk/routing.ts'
import type { GroupStatus, NodeStatus, Status } from '../walk/status.ts'
import { bytesText, countText } from './format.ts'

/** How something stands; each is shown with a sign and a word of its own, never by its colour alone. */
export type Tone = 'good' | 'warn' | 'bad' | 'off' | 'unknown'

/**
 * How a standby gets its WAL: `flows`, `stopped`: it is seen that it gets none, `unknown`: that was not seen; `same`: it is no
 * standby, but another name of the same server.
 */
type Link = 'flows' | 'stopped' | 'unknown' | 'same'

/** A server as the picture shows it, with those that stream from it. */
export interface NodeView {
  readonly address: string
  /** What it is: `Primary`, `Standby coordinator`. */
  readonly title: string
  readonly tone: Tone
  /** What was seen of it: `streaming`, `unreachable (refused)`. */
  readonly state: string
  /** Such as `timeline 3`, `0 B behind`. */
  readonly facts: readonly string[]
  /** What pg_dist_node says of it where that is not plain from its place. */
  readonly notes: readonly string[]
  /** Whose reads, and whose writes, of its group go to it right now. */
  readonly reads: readonly string[]
  readonly writes: readonly string[]
  /** null: it stands by itself. */
  readonly link: Link | null
  readonly standbys: readonly NodeView[]
}

/** Where reads and writes of a group go that enter at one kind of node. */
export interface RouteView {
  readonly entry: string
  readonly nodes: readonly string[]
  readonly read: string
  readonly write: string
  readonly works: boolean
}

export interface RemarkView {
  readonly code: string
  readonly text: string
  /** A command to copy; null: there is none. */
  readonly command: string | null
  /** What stands beside the command. */
  readonly hint: string | null
}

export interface GroupView {
  readonly group: number
  readonly title: string
  readonly tone: Tone
  /** What it was diagnosed as; or, where that is healthy and not all is well, how many problems it has. */
  readonly word: string
  readonly rule: string
  readonly summary: string
  readonly evidence: readonly string[]
  readonly paused: boolean
  /** Milliseconds until the fence that this watcher holds ends, as it was told; null: there is none. */
  readonly fencedMs: number | null
  readonly routes: readonly RouteView[]
  readonly trees: readonly NodeView[]
  /** In a few words, for a group that is folded up. */
  readonly brief: string
  /** Nothing about it needs to be read. */
  readonly isQuiet: boolean
}

export interface ClusterView {
  readonly database: string
  readonly citus: string
  /** ISO 8601, by the watcher's clock. */
  readonly surveyedAt: string
  readonly tone: Tone
  /** The whole of it in one sentence. */
  readonly verdict: string
  readonly coordinators: GroupView | null
  /** Those that need to be looked at first. */
  readonly groups: readonly GroupView[]
  /** Servers that are in no group. */
  readonly strays: readonly NodeView[]
  readonly problems: readonly RemarkView[]
  readonly warnings: readonly RemarkView[]
  readonly pauses: readonly string[]
  readonly pending: readonly string[]
  readonly remedies: readonly string[]
  readonly counts: Counts
}

interface Counts {
  readonly groups: number
  readonly healthyGroups: number
  readonly nodes: number
  readonly answering: number
  /** Of the standby that is furthest behind, in bytes; null: of none is it known. */
  readonly mostBehind: number | null
}

interface Fence {
  readonly database: string
  readonly group: number
  readonly leftMs: number
}

const COORDINATOR_GROUP = 0

/** What the page shows of one database. */
export function clusterView(status: Status, fences: readonly Fence[] = []): ClusterView {
  const { database, citus, at, others, remarks, pauses, pending, remedies } = status
  const aliases = new Set(
    status.groups.flatMap(({ nodes }) =>
      nodes.filter(({ isAlias }) => isAlias).map(({ address }) => address),
    ),
  )
  const views = status.groups.map((group) => {
    const fence = fences.find((each) => each.database === database && each.group === group.group)
    const unregistered = others.filter((each) => each.group === group.group)
    const said = remarksOf(status, group.group)
    return groupView(group, unregistered, { said, fencedMs: fence?.leftMs ?? null, aliases })
  })
  const workers = views.filter(({ group }) => group !== COORDINATOR_GROUP)
  const known = new Set(views.map(({ group }) => group))
  const problems = remarks.slice(0, status.problems.length).map(remarkView)
  const servers = status.groups.flatMap((group) => group.nodes.filter(({ isAlias }) => !isAlias))
  return {
    database,
    // Its own words go on with the compiler and the machine.
    citus: /^Citus (\S+)/.exec(citus)?.[1] ?? citus,
    surveyedAt: at,
    ...verdictOf(views, problems.length),
    coordinators: views.find(({ group }) => group === COORDINATOR_GROUP) ?? null,
    groups: workers.toSorted((a, b) => urgency(a) - urgency(b) || a.group - b.group),
    strays: others.filter(({ group }) => group === null || !known.has(group)).map((node) => lone(node)),
    problems,
    warnings: remarks.slice(status.problems.length).map(remarkView),
    pauses: pauses.map(
      ({ group, since, by, why }) =>
        `${group === null ? 'The whole cluster' : `Group ${group}`} is paused since ${since} by ${by}${why === null ? '' : `: ${why}`}`,
    ),
    pending,
    remedies,
    counts: countsOf(views, [...servers, ...others]),
  }
}

interface Said {
  readonly problems: number
  readonly warnings: number
}

/** What is known of a group beside its own part of the document. */
interface Beside {
  readonly said: Said
  readonly fencedMs: number | null
  readonly aliases: ReadonlySet<string>
}

function remarksOf(status: Status, group: number): Said {
  const about = (each: { readonly group: number | null }) => each.group === group
  const count = status.problems.length
  return {
    problems: status.remarks.slice(0, count).filter(about).length,
    warnings: status.remarks.slice(count).filter(about).length,
  }
}

function groupView(
  status: GroupStatus,
  unregistered: readonly NodeStatus[],
  { said, fencedMs, aliases }: Beside,
): GroupView {
  const { group, code, rule, summary, evidence, paused } = status
  const diagnosed = DIAGNOSED[code] ?? 'bad'
  const tone = diagnosed === 'good' && said.problems > 0 ? 'warn' : diagnosed
  const trees = treesOf(status, unregistered, aliases)
  return {
    group,
    title: group === COORDINATOR_GROUP ? 'Coordinators' : `Group ${group}`,
    tone,
    word: tone === diagnosed ? code : countText(said.problems, 'problem'),
    rule,
    summary,
    evidence,
    paused,
    fencedMs,
    routes: status.routes.map(routeView),
    trees,
    brief: briefOf(trees),
    isQuiet: tone === 'good' && said.warnings === 0 && !paused && fencedMs === null,
  }
}

/** What is not named here is for a person to look at: `bad`. */
const DIAGNOSED: Readonly<Record<string, Tone>> = {
  healthy: 'good',
  'secondary-down': 'warn',
  'old-primary-writes': 'warn',
  'read-only': 'warn',
  disabled: 'off',
  promoted: 'warn',
  'promotion-running': 'warn',
  'name-to-follow': 'warn',
}

const ORDER: Readonly<Record<Tone, number>> = { bad: 0, unknown: 1, warn: 2, off: 3, good: 4 }

function urgency({ tone, isQuiet }: GroupView): number {
  return ORDER[tone] * 2 + (isQuiet ? 1 : 0)
}

function verdictOf(groups: readonly GroupView[], problems: number): Pick<ClusterView, 'tone' | 'verdict'> {
  const of = (tone: Tone) => groups.filter((group) => group.tone === tone)
  const named = (some: readonly GroupView[]) =>
    some.length > 3
      ? countText(some.length, 'group')
      : some
          .map(
            ({ group, word }) =>
              `${group === COORDINATOR_GROUP ? 'the coordinator' : `group ${group}`}: ${word}`,
          )
          .join(', ')
  const bad = of('bad')
  if (bad.length > 0) return { tone: 'bad', verdict: `Needs attention: ${named(bad)}` }
  const warned = of('warn')
  if (warned.length > 0) return { tone: 'warn', verdict: `Not all is well: ${named(warned)}` }
  if (problems > 0) return { tone: 'warn', verdict: `Not all is well: ${countText(problems, 'problem')}` }
  return { tone: 'good', verdict: 'All is well' }
}

function countsOf(groups: readonly GroupView[], nodes: readonly NodeStatus[]): Counts {
  const lags = nodes.flatMap(({ lagBytes }) => (lagBytes === null ? [] : [lagBytes]))
  return {
    groups: groups.length,
    healthyGroups: groups.filter(({ tone }) => tone === 'good').length,
    nodes: nodes.length,
    answering: nodes.filter(({ stateCode }) => !SILENT.has(stateCode)).length,
    mostBehind: lags.length === 0 ? null : Math.max(...lags),
  }
}

const SILENT: ReadonlySet<NodeStatus['stateCode']> = new Set(['unreachable', 'unreadable', 'not-asked'])

/** The next step as a command, and what stands behind its `#`: a condition, or what comes after it. */
function remarkView({ code, text, next }: Status['remarks'][number]): RemarkView {
  if (next === null) return { code, text, command: null, hint: null }
  const [, command = next, hint = null] = COMMENTED.exec(next) ?? []
  return { code, text, command, hint }
}

/** A command, and what stands behind the first `#` that is not inside a quoted word, as `shellWord` quotes. */
const COMMENTED = /^((?:\$'(?:\\.|[^'\\])*'|'[^']*'|"[^"]*"|\\.|\s+(?![\s#])|(?!\$')[^\s'"\\])*)\s+# (.*)$/s

function routeView({ kind, nodes, cluster, stale, read, write }: EntryStatus): RouteView {
  const notes = [...(cluster === null ? [] : [`cluster ${cluster}`]), ...(stale ? ['by what it knew'] : [])]
  return {
    entry: notes.length === 0 ? kind : `${kind} (${notes.join(', ')})`,
    nodes,
    read: wayText(read),
    write: wayText(write),
    works: read.works !== 'no' && (write.works !== 'no' || !TAKES_WRITES.has(kind)),
  }
}

/** At the others no write is sent in any case. */
const TAKES_WRITES: ReadonlySet<string> = new Set(['coordinator', 'metadata worker'])

function wayText({ to, works, why }: RouteStatus): string {
  const ends = { yes: '', no: 'fails', unknown: 'not known to work' }[works]
  const end = [ends, why ?? ''].filter((each) => each !== '').join(': ')
  if (to === null) return end || 'refused'
  return end === '' ? to : `${to}, ${end}`
}

/** A kind of node in a few words: `2 metadata workers` where several of them are meant. */
function entryText({ kind, nodes }: EntryStatus, aliases: ReadonlySet<string>): string {
  const short = kind.replace(/ \(.*/, '')
  const count = nodes.filter((node) => !aliases.has(node)).length
  return count > 1 ? `${count} ${short}s` : short
}

function treesOf(
  { group, code, nodes, routes }: GroupStatus,
  unregistered: readonly NodeStatus[],
  aliases: ReadonlySet<string>,
): NodeView[] {
  const all = [...nodes, ...unregistered]
  const primary = nodes.find(({ registeredAs }) => registeredAs === 'primary') ?? null
  const placed = new Set<NodeStatus>()
  const build = (node: NodeStatus, link: Link | null): NodeView => {
    placed.add(node)
    const standbys = all
      .filter((each) => !placed.has(each) && upstreamOf(each, all, primary) === node)
      .map((each) => build(each, linkOf(each)))
    const own = node === primary
    return { ...nodeView(node, { code, own, group, aliases }, routes), link, standbys }
  }
  const roots = all.filter((node) => upstreamOf(node, all, primary) === null)
  const trees = roots.map((node) => build(node, null))
  // Of two that claim to stream from each other, one hangs from nobody.
  for (const node of all) if (!placed.has(node)) trees.push(build(node, null))
  return trees
}

/** From whom it gets its WAL, or should; null: it is not in recovery, or nobody's standby. */
function upstreamOf(
  node: NodeStatus,
  all: readonly NodeStatus[],
  primary: NodeStatus | null,
): NodeStatus | null {
  if (node.isAlias) return primary
  if (node === primary || node.stateCode === 'writable' || node.role === 'retired') return null
  if (node.role === 'read-only' || node.kind?.includes('writable copy')) return null
  const named = all.find(({ address }) => address === node.upstream)
  return named && named !== node ? named : primary
}

function linkOf({ stateCode, isAlias }: NodeStatus): Link {
  if (isAlias) return 'same'
  if (stateCode === 'streaming' || stateCode === 'streams-elsewhere') return 'flows'
  return stateCode === 'not-streaming' || stateCode === 'unreachable' ? 'stopped' : 'unknown'
}

interface Place {
  readonly group: number
  readonly code: string
  /** It is the group's registered primary. */
  readonly own: boolean
  /** Addresses that are other names of servers, in the whole cluster. */
  readonly aliases: ReadonlySet<string>
}

function nodeView(
  node: NodeStatus,
  place: Place,
  routes: readonly EntryStatus[],
): Omit<NodeView, 'link' | 'standbys'> {
  const { aliases } = place
  const { address, state, timeline, lagBytes, registeredAs, active, cluster, upstream } = node
  const to = (way: 'read' | 'write') =>
    routes
      .filter((entry) => entry[way].to === address && entry[way].works !== 'no')
      .map((entry) => entryText(entry, aliases))
  const notes = [
    ...(registeredAs === null ? ['not in pg_dist_node'] : []),
    ...(registeredAs === 'secondary' && node.role === 'primary' ? ['registered as secondary'] : []),
    ...(node.isAlias ? ['reads of a secondary that is down'] : []),
    ...(registeredAs === 'primary' && node.role === 'standby' ? ['registered as primary'] : []),
    ...(registeredAs === 'clone' ? ['a clone'] : []),
    ...(active === false ? ['inactive in pg_dist_node'] : []),
    ...(cluster !== null && cluster !== 'default' ? [`cluster ${cluster}`] : []),
  ]
  return {
    address,
    title: titleOf(node, place),
    tone: toneOf(node, place),
    state,
    facts: [
      ...(timeline === null ? [] : [`timeline ${timeline}`]),
      ...(lagBytes === null ? [] : [`${bytesText(lagBytes)} behind`]),
      ...(upstream === null ? [] : [`from ${upstream}`]),
    ],
    notes,
    reads: to('read'),
    writes: to('write'),
  }
}

function lone(node: NodeStatus): NodeView {
  return {
    ...nodeView(node, { group: -1, code: '', own: false, aliases: new Set() }, []),
    link: null,
    standbys: [],
  }
}

function titleOf({ kind, role, registeredAs, isAlias }: NodeStatus, { group, own }: Place): string {
  if (isAlias) return 'Another name of the primary'
  if (kind?.startsWith('expand')) return 'Expand coordinator'
  if (role === 'retired') return 'Retired primary'
  const isStandby = role === null ? registeredAs !== 'primary' : role === 'standby'
  if (role === null && registeredAs === null) return 'Server'
  if (group === COORDINATOR_GROUP) return isStandby ? 'Standby coordinator' : 'Coordinator'
  if (role === 'read-only' && !own) return 'Old primary'
  return isStandby ? 'Standby' : 'Primary'
}

function toneOf({ stateCode, kind, isAlias }: NodeStatus, { own, code, group }: Place): Tone {
  if (isAlias) return 'off'
  switch (stateCode) {
    case 'writable': {
      if (kind?.startsWith('expand')) return 'good'
      if (own) return code === 'split-brain' ? 'bad' : 'good'
      return group < 0 ? 'unknown' : code === 'promoted' ? 'warn' : 'bad'
    }
    case 'streaming':
      return 'good'
    case 'read-only':
    case 'streams-elsewhere':
    case 'not-streaming':
      return 'warn'
    case 'retired':
      return 'off'
    case 'unreachable':
    case 'unreadable':
      return 'bad'
    case 'unseen':
    case 'not-asked':
      return 'unknown'
  }
}

function briefOf(trees: readonly NodeView[]): string {
  const flat = (nodes: readonly NodeView[]): NodeView[] =>
    nodes.flatMap((node) => [node, ...flat(node.standbys)])
  const [first, ...rest] = flat(trees)
  return first ? `${first.address}, ${countText(rest.length, 'standby')}` : 'no server'
}

/** Whether a group has what was typed, in its number, its diagnosis or any of its servers. */
export function matches(group: GroupView, typed: string): boolean {
  const words = typed
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '')
  const flat = (nodes: readonly NodeView[]): string[] =>
    nodes.flatMap(({ address, title, state, standbys }) => [address, title, state, ...flat(standbys)])
  const text = [group.title, group.word, group.rule, group.summary, ...flat(group.trees)]
    .join(' ')
    .toLowerCase()
  return words.every((word) => text.includes(word))
}
