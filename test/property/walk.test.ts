import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Catalog, primaryOf, sameCatalog, sameRow, secondariesOf } from '../../src/model/catalog.ts'
import { coordinatorOf } from '../../src/model/kinds.ts'
import { formatAddress, type HostPort } from '../../src/model/node.ts'
import type { Lineage } from '../../src/model/observation.ts'
import { changesNothing } from '../../src/model/plan.ts'
import { withoutRemedies } from '../../src/model/remedy.ts'
import { flawOf } from '../../src/plan/simulate.ts'
import { type Built, build, clusterDraw, failAgain } from '../support/random-cluster.ts'
import { lookAt, type SimServer, type Simulation, type SimView, textOf } from '../support/simulation.ts'

const RUNS = 5000

/** One walk: looks, holds what is planned against the truth, carries it out. */
async function walk(
  { cluster, seeds, claims }: Built,
  names: 'checked' | 'unchecked' = 'checked',
): Promise<SimView | null> {
  const view = await lookAt(cluster, seeds, claims).catch((error: unknown) => {
    if (error instanceof Error && error.message === 'a plan needs a coordinator') return null
    throw error
  })
  const coordinator = view && coordinatorOf(view.survey.nodes)
  if (!view || !coordinator) return null
  const before = coordinator.citus?.catalog ?? []
  const after = view.plan.copies[0]?.after ?? before
  // What the rows name, with those that stand in for others put back.
  const remedies = coordinator.installed?.remedies ?? []
  const named = withoutRemedies(before, remedies)
  const lasting = remedies.filter(({ nodeid }) => !view.plan.remediesEnded.includes(nodeid))
  const news = view.plan.remedies.map(({ nodeid }) => nodeid)
  const namedAfter = withoutRemedies(after, [
    ...lasting.filter(({ nodeid }) => !news.includes(nodeid)),
    ...view.plan.remedies,
  ])
  refusedIsKept(view, named, namedAfter)
  // An old primary without a row, and a standby that nobody named, are out of sight.
  const clones = new Set(before.filter((row) => row.isclone).map(textOf))
  const asked = view.survey.nodes
    .filter((node) => !clones.has(formatAddress(node.address)))
    .flatMap((node) => cluster.behind(node.address) ?? [])
  const known = new Map(coordinator.installed?.lineage.map((line) => [line.group, line]))
  for (const { group } of view.diagnoses) {
    const was = primaryOf(named, group)
    const is = primaryOf(namedAfter, group)
    if (textOf(was) === textOf(is) || !was || !is) continue
    const doubts = doubtsOf(cluster, group, was.address, is.address, known, asked, claims.vouched)
    expect(doubts, `group ${group}: ${textOf(was)} -> ${textOf(is)}`).toEqual([])
  }
  if (names === 'checked') oneNameEach(cluster, view, remedies, after)
  for (const copy of view.plan.copies) {
    for (const row of copy.after) {
      // Nobody is told of a primary that the coordinator is not told of.
      if (row.role !== 'primary' || copy.role === 'expand coordinator') continue
      expect(textOf(row)).toBe(textOf(primaryOf(after, row.group)))
    }
  }
  // As `act` does, before it opens a session.
  if (view.plan.forbidden.length > 0) return null
  const reads = readsOf(cluster, before)
  cluster.apply(view.plan, (copy, was, is) => {
    expect(flawOf(is), `a step on ${copy.node.host}`).toBeNull()
    expect(identitiesOf(is)).toEqual(identitiesOf(was))
  })
  const written = cluster.get(coordinator.instance).catalog
  for (const [cell, works] of readsOf(cluster, written)) {
    if (cluster.routing.secondaryDown === 'auto' && reads.get(cell) === true)
      expect(`${cell}: ${works}`).toBe(`${cell}: true`)
  }
  return view
}

const identitiesOf = (rows: Catalog) => [...rows].sort((a, b) => a.nodeid - b.nodeid).map(identityOf)
const identityOf = (row: Catalog[number]) => [row.nodeid, row.group, row.cluster, row.role, row.isclone]

/** A server has one row, by its own name; other names are for remedies alone. */
function oneNameEach(
  cluster: Simulation,
  { plan }: SimView,
  known: readonly { nodeid: number }[],
  after: Catalog,
): void {
  const remedied = [...known, ...plan.remedies].map(({ nodeid }) => nodeid)
  const lasting = remedied.filter((nodeid) => !plan.remediesEnded.includes(nodeid))
  const rows = after.filter((row) => !lasting.includes(row.nodeid))
  const names = rows.map((row) => cluster.behind(row.address)?.name)
  expect(names, 'two rows of one server').toEqual([...new Set(names)])
  expect(
    rows.map((row) => row.address.host),
    'another name without a remedy',
  ).toEqual(names)
}

function refusedIsKept({ diagnoses }: SimView, before: Catalog, after: Catalog): void {
  for (const { group } of diagnoses.filter(({ standing }) => standing === 'refused')) {
    for (const row of before.filter((each) => each.group === group)) {
      expect(
        after.some((each) => sameRow(each, row)),
        `${textOf(row)} of refused group ${group}`,
      ).toBe(true)
    }
  }
}

/** What the truth of the simulated cluster has against this new primary; written apart from the rules. */
function doubtsOf(
  cluster: Simulation,
  group: number,
  from: HostPort,
  to: HostPort,
  known: ReadonlyMap<number, Lineage>,
  asked: readonly SimServer[],
  vouched: HostPort | null,
): string[] {
  const server = cluster.behind(to)
  const old = cluster.behind(from)
  if (!server?.alive || server.hiddenFromUs) return ['it does not answer']
  const doubts: string[] = []
  if (server.inRecovery) doubts.push('it is in recovery')
  const isVouched = vouched !== null && cluster.behind(vouched) === server
  const line = known.get(group)
  // The first time, vouching and metadata that names this cluster are enough.
  if (!server.system.endsWith(`0${group}`) && (line || !isVouched)) doubts.push('it is of another system')
  if (server.group !== group) doubts.push('it belongs to another group')
  if (isVouched) return doubts
  const seen = asked.filter((one) => one.alive && !one.hiddenFromUs)
  const rivals = seen.filter((one) => one.group === group && one !== server && !one.inRecovery && !one.expand)
  if (rivals.length > 0) doubts.push(`${rivals.map((one) => one.name)} takes writes as well`)
  if (old?.alive && !(old.inRecovery && !old.hiddenFromUs) && reached(cluster, old, seen))
    doubts.push(`${old.name} is reached by a witness`)
  if (line && !descends(server, line)) doubts.push('it is on another line')
  for (const one of seen) {
    if (hasMore(one, server)) doubts.push(`${one.name}, which was seen, has more of the line`)
  }
  return doubts
}

function reached(cluster: Simulation, old: SimServer, seen: readonly SimServer[]): boolean {
  const asked = seen.filter((one) => !one.inRecovery && one.catalog.length > 0)
  return !old.hiddenFromUs || asked.some((one) => cluster.reaches(one.name, old))
}

/** It is of the line that the other one left, has not left it itself, and is beyond that place. */
function hasMore(one: SimServer, promoted: SimServer): boolean {
  const isOfLine = one.group === promoted.group && one.system === promoted.system && one.inRecovery
  return isOfLine && promoted.leftAt !== null && one.timeline < promoted.timeline && one.lsn > promoted.leftAt
}

/** Every switch of the record is a switch of the server's, up to the record's own timeline. */
function descends(server: SimServer, line: Lineage): boolean {
  const text = (entry: { timeline: number; lsn: string }) => `${entry.timeline}@${entry.lsn}`
  const own = server.history.map(text)
  const agrees = line.history.every((entry, n) => own[n] === text(entry))
  const longer =
    server.timeline === line.timeline ? own.length === line.history.length : own.length > line.history.length
  return server.timeline >= line.timeline && agrees && longer
}

/**
 * Whether reads through secondaries work, by group and nodecluster: Citus takes the first row, and nobody else's. Who has
 * the setting among the options of a connection reads any cluster, and is not seen.
 */
function readsOf(cluster: Simulation, catalog: Catalog): Map<string, boolean> {
  const reader = cluster.servers.get('ex')
  const read = reader?.expand && reader.upstream !== null ? [reader.expand.cluster] : []
  const all = new Set(catalog.filter((row) => row.role === 'secondary').map((row) => row.cluster))
  const clusters = cluster.routing.readers === 'assumed' ? [...all] : read
  const groups = catalog.filter((row) => row.role === 'primary' && row.group > 0).map(({ group }) => group)
  return new Map(
    groups.flatMap((group) =>
      clusters.map((name) => {
        const [first] = secondariesOf(catalog, group, name)
        const serves = first?.isactive === true && answersReads(cluster, first.address, group)
        return [`group ${group}, cluster ${name}`, serves]
      }),
    ),
  )
}

function answersReads(cluster: Simulation, at: HostPort, group: number): boolean {
  const server = cluster.behind(at)
  return server?.alive === true && !server.hiddenFromUs && server.group === group
}

describe('a walk over any cluster, in any state', () => {
  test('writes what is proved and nothing else, breaks no read, and is done after one', {
    timeout: 300_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(clusterDraw, async (draw) => {
        const built = build(draw)
        const { cluster, healthy } = built
        const first = await walk(built)
        if (!first) return
        if (healthy) {
          // An inactive row that somebody put before the others is in the way of whoever reads.
          const moved = first.plan.changes.filter(({ kind }) => kind !== 'reads-moved')
          expect(moved).toEqual([])
          expect(first.plan.proofs).toEqual([])
        }
        await settles(built, 'after the walk')
        // Faults stop: routes are back, and with them nodes that were out of sight.
        cluster.cut.clear()
        for (const server of cluster.servers.values()) server.hiddenFromUs = false
        const second = await walk(built)
        if (!second) return
        await settles(built, 'after the faults')
        failAgain(built, draw, coordinatorOf(second.survey.nodes)?.citus?.catalog ?? [])
        if (await walk(built, 'unchecked')) await settles(built, 'after another failover')
      }),
      { numRuns: RUNS },
    )
  })
})

async function settles(built: Built, when: string): Promise<void> {
  const { cluster, seeds, claims } = built
  const authority = coordinatorOf((await lookAt(cluster, seeds, claims)).survey.nodes)
  if (authority) cluster.sync(authority.instance)
  const again = await lookAt(cluster, seeds, claims)
  expect(again.plan.changes, when).toEqual([])
  expect(changesNothing(again.plan), when).toBe(true)
  expect(again.plan.proofs, when).toEqual([])
  expect(again.plan.remedies, when).toEqual([])
  expect(again.plan.remediesEnded, when).toEqual([])
  const truth = again.plan.copies[0]?.after ?? []
  for (const copy of again.plan.copies) {
    if (copy.role !== 'expand coordinator') expect(sameCatalog(copy.after, truth), when).toBe(true)
  }
}
