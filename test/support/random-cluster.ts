import fc from 'fast-check'
import { type Claims, NO_CLAIMS } from '../../src/diagnose/facts.ts'
import { type Catalog, type CatalogRow, primaryOf } from '../../src/model/catalog.ts'
import type { Lineage, TimelineSwitch } from '../../src/model/observation.ts'
import { address, installed, primaryRow, secondaryRow, systemOf } from './builders.ts'
import { type SimServer, Simulation } from './simulation.ts'

const EVENTS = [
  'none',
  'dead',
  'promoted',
  'rejoined',
  'both',
  'cut from us',
  'cut from all',
  'twins',
  'foreign system',
  'usurped',
  'foreign group',
  'restored',
  'backup',
  'stale',
  'collision',
  'hidden',
  'standby dead',
  'standby hidden',
] as const
export type Event = (typeof EVENTS)[number]

const standbyDraw = fc.record({
  known: fc.constantFrom('registered', 'registered', 'registered', 'in the file', 'nowhere', 'clone'),
  cluster: fc.constantFrom('default', 'default', 'second'),
  isactive: fc.constantFrom(true, true, true, false),
  rack: fc.constantFrom('north', 'south'),
})

function groupDraw(events: readonly Event[]) {
  return fc.record({
    standbys: fc.array(standbyDraw, { maxLength: 3 }),
    event: fc.constantFrom(...events),
    line: fc.integer({ min: 1, max: 3 }),
    recorded: fc.constantFrom(true, true, true, false),
    secondariesFirst: fc.boolean(),
    /** After the first change the new primary dies as well, and another standby takes over. */
    again: fc.boolean(),
  })
}

// Evidence against the coordinator itself stops a walk before it plans; see the unit tests of it.
const COORDINATOR_EVENTS = ['none', 'none', 'promoted', 'rejoined', 'standby dead', 'standby hidden'] as const

export const clusterDraw = fc.record({
  coordinator: groupDraw(COORDINATOR_EVENTS),
  workers: fc.array(groupDraw(EVENTS), { minLength: 1, maxLength: 3 }),
  expand: fc.constantFrom('none', 'standby', 'standby', 'own copy'),
  expandCluster: fc.constantFrom('default', 'default', 'second'),
  drift: fc.constantFrom('none', 'none', 'rack', 'swap', 'inactive', 'cluster', 'missing'),
  vouched: fc.option(fc.record({ group: fc.nat(3), member: fc.nat(3) }), { freq: 3 }),
  secondaryDown: fc.constantFrom('auto', 'auto', 'auto', 'deactivate', 'leave'),
  primaryDown: fc.constantFrom('leave', 'secondary'),
  readers: fc.constantFrom('assumed', 'seen'),
  cuts: fc.array(fc.tuple(fc.nat(15), fc.nat(15)), { maxLength: 4 }),
})
export type ClusterDraw = typeof clusterDraw extends fc.Arbitrary<infer T> ? T : never
type GroupDraw = ClusterDraw['coordinator']

export interface Built {
  readonly cluster: Simulation
  readonly seeds: readonly string[]
  readonly claims: Claims
  readonly healthy: boolean
}

const nameOf = (group: number, member: number): string => `g${group}${'abcd'[member] ?? 'x'}`
const historyTo = (timeline: number): TimelineSwitch[] =>
  Array.from({ length: timeline - 1 }, (_, n) => ({ timeline: n + 1, lsn: `0/${n + 1}000` }))

export function build(draw: ClusterDraw): Built {
  const cluster = new Simulation()
  const { secondaryDown, primaryDown, readers } = draw
  cluster.routing = { ...cluster.routing, secondaryDown, primaryDown, readers }
  const groups = [draw.coordinator, ...draw.workers]
  const catalog = catalogOf(groups)
  const lines = groups.flatMap(({ recorded, line }, group): Lineage[] =>
    recorded ? [{ group, systemIdentifier: systemOf(group), timeline: line, history: historyTo(line) }] : [],
  )
  const file = standbysOf(groups, 'in the file')
  // What `citus-ha install` has allowed.
  const spare = installed({ spareAddresses: file })
  const schema = { ...spare, lineage: lines }
  groups.forEach(({ standbys, line }, group) => {
    const lsn = BigInt(`0x${line}400`)
    const given = { group, system: systemOf(group), timeline: line, history: historyTo(line), lsn, catalog }
    const primary = nameOf(group, 0)
    cluster.add(primary, { ...given, installed: group === 0 ? schema : spare })
    standbys.forEach((_, n) => {
      const added = cluster.add(nameOf(group, n + 1), given)
      cluster.follow(added.name, primary)
    })
  })
  addExpand(cluster, draw)
  const names = [...cluster.servers.keys()].filter((name) => !name.startsWith('g0'))
  for (const [from, to] of draw.cuts)
    cluster.cut.add(`${names[from % names.length]}>${names[to % names.length]}`)
  drift(cluster, draw)
  groups.forEach((each, group) => {
    happen(cluster, each, group)
  })
  const ofVouched = draw.vouched && groups[draw.vouched.group]
  const vouched =
    draw.vouched && ofVouched && draw.vouched.member <= ofVouched.standbys.length
      ? address(nameOf(draw.vouched.group, draw.vouched.member))
      : null
  const coordinators = draw.coordinator.standbys.flatMap(({ known }, n) =>
    known === 'clone' ? [] : [nameOf(0, n + 1)],
  )
  return {
    cluster,
    seeds: ['g0a', ...coordinators, ...(draw.expand === 'none' ? [] : ['ex'])],
    claims: { ...NO_CLAIMS, vouched, standbys: file },
    healthy:
      vouched === null &&
      draw.drift === 'none' &&
      groups.every((group) => group.event === 'none' && group.recorded),
  }
}

function standbysOf(groups: readonly GroupDraw[], how: GroupDraw['standbys'][number]['known']) {
  return groups.flatMap(({ standbys }, group) =>
    standbys.flatMap(({ known }, n) =>
      known === how ? [{ group, address: address(nameOf(group, n + 1)) }] : [],
    ),
  )
}

function catalogOf(groups: readonly GroupDraw[]): Catalog {
  let nodeid = 0
  return groups.flatMap(({ standbys, secondariesFirst }, group) => {
    const primary = (): CatalogRow => primaryRow(++nodeid, group, { at: nameOf(group, 0), rack: 'north' })
    const secondaries = (): CatalogRow[] =>
      standbys.flatMap(({ known, cluster, isactive, rack }, n) => {
        const isclone = known === 'clone'
        if (known !== 'registered' && !isclone) return []
        const parts = { at: nameOf(group, n + 1), rack, isclone }
        return [secondaryRow(++nodeid, group, { ...parts, cluster, isactive: isactive && !isclone })]
      })
    return secondariesFirst ? [...secondaries(), primary()] : [primary(), ...secondaries()]
  })
}

function addExpand(cluster: Simulation, { expand, expandCluster }: ClusterDraw): void {
  if (expand === 'none') return
  const { catalog, installed: schema, timeline, history, system } = cluster.get('g0a')
  const own = expand === 'own copy'
  cluster.add('ex', {
    group: 0,
    system: own ? '4711' : system,
    timeline,
    history,
    inRecovery: !own,
    upstream: own ? null : 'g0a',
    catalog: own ? catalog.map((row) => ({ ...row, nodeid: row.nodeid + 100 })) : catalog,
    installed: own ? { ...schema, lineage: [] } : schema,
    expand: { cluster: expandCluster },
  })
}

/** Somebody changed the copy of the first worker by hand. */
function drift(cluster: Simulation, draw: ClusterDraw): void {
  const worker = cluster.get('g1a')
  const of = worker.catalog.filter((row) => row.group === 1)
  const [first, second] = of
  if (!first) return
  const edit = (change: Partial<CatalogRow>, row = first) => {
    worker.catalog = worker.catalog.map((each) =>
      each.nodeid === row.nodeid ? { ...each, ...change } : each,
    )
  }
  if (draw.drift === 'rack') edit({ rack: 'moon' })
  if (draw.drift === 'inactive') edit({ isactive: !first.isactive })
  if (draw.drift === 'cluster' && second?.role === 'secondary') edit({ cluster: 'drifted' }, second)
  if (draw.drift === 'missing' && second?.role === 'secondary') {
    worker.catalog = worker.catalog.filter((row) => row.nodeid !== second.nodeid)
  }
  if (draw.drift === 'swap' && second) {
    edit({ address: second.address })
    worker.catalog = worker.catalog.map((row) =>
      row.nodeid === second.nodeid ? { ...row, address: first.address } : row,
    )
  }
  cluster.replay()
}

function happen(cluster: Simulation, { event, standbys, line }: GroupDraw, group: number): void {
  const old = cluster.get(nameOf(group, 0))
  const followers = standbys.map((_, n) => nameOf(group, n + 1))
  if (event === 'dead') old.alive = false
  if (event === 'hidden') old.hiddenFromUs = true
  const [next, other] = followers
  if (!next) return
  if (event === 'standby dead') cluster.get(next).alive = false
  if (event === 'standby hidden') cluster.get(next).hiddenFromUs = true
  const unpromoted: readonly Event[] = ['none', 'dead', 'hidden', 'standby dead', 'standby hidden']
  if (unpromoted.includes(event)) return
  // A backup, or a standby that was behind, leaves the line before the others' position.
  const isLess = event === 'backup' || event === 'stale'
  if (isLess) old.alive = false
  const promoted = cluster.promote(next, `0/${line}${isLess ? '200' : '500'}`)
  // The archive knew of a timeline that died.
  if (event === 'backup') promoted.timeline += 1
  replace(cluster, old, promoted, event, line, other)
  // Some of the others follow the new primary, as far as they can.
  for (const name of followers.slice(event === 'twins' ? 2 : 1)) {
    if (event !== 'collision' && !isLess) cluster.follow(name, next)
  }
  if (group === 0 && cluster.servers.get('ex')?.upstream === 'g0a') cluster.get('ex').upstream = next
}

/** The primary that the catalog names dies, and a standby that followed it is promoted. */
export function failAgain({ cluster }: Built, draw: ClusterDraw, catalog: Catalog): void {
  draw.workers.forEach(({ again }, n) => {
    const row = primaryOf(catalog, n + 1)
    const old = row && cluster.behind(row.address)
    const followers = [...cluster.servers.values()].filter((one) => one.alive && one.upstream === old?.name)
    const [next, ...others] = followers
    if (!again || !old || !next) return
    old.alive = false
    cluster.promote(next.name, '0/7000')
    for (const { name } of others) cluster.follow(name, next.name)
  })
}

function replace(
  cluster: Simulation,
  old: SimServer,
  promoted: SimServer,
  event: Event,
  line: number,
  other: string | undefined,
): void {
  if (['promoted', 'twins', 'collision', 'usurped'].includes(event)) old.alive = false
  if (event === 'rejoined') cluster.follow(old.name, promoted.name)
  if (event === 'cut from us' || event === 'cut from all') old.hiddenFromUs = true
  if (event === 'cut from all')
    for (const name of cluster.servers.keys()) cluster.cut.add(`${name}>${old.name}`)
  if (event === 'twins' && other) cluster.promote(other, `0/${line}600`)
  if (event === 'foreign system') old.system = '666'
  // Somebody has set up another system where the standby was.
  if (event === 'usurped') promoted.system = '666'
  if (event === 'foreign group') old.group = 9
  if (event === 'restored') {
    // What the record knows is newer than what both of them write.
    const coordinator = cluster.get('g0a')
    const history = historyTo(line + 4)
    record(coordinator, { group: old.group, systemIdentifier: old.system, timeline: line + 4, history })
  }
  if (event === 'collision') {
    const history = [...historyTo(line), { timeline: line, lsn: '0/9999' }]
    record(cluster.get('g0a'), {
      group: old.group,
      systemIdentifier: old.system,
      timeline: line + 1,
      history,
    })
  }
}

function record(coordinator: SimServer, line: Lineage): void {
  const { lineage } = coordinator.installed
  const others = lineage.filter((each) => each.group !== line.group)
  coordinator.installed = { ...coordinator.installed, lineage: [...others, line] }
}
