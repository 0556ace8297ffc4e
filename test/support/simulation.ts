import { diagnose } from '../../src/diagnose/diagnose.ts'
import type { Claims } from '../../src/diagnose/facts.ts'
import { type Catalog, type CatalogRow, sameCatalog } from '../../src/model/catalog.ts'
import type { Diagnosis } from '../../src/model/diagnosis.ts'
import { formatAddress, type HostPort } from '../../src/model/node.ts'
import type {
  Answered,
  Installed,
  Observation,
  Survey,
  Testimony,
  TimelineSwitch,
} from '../../src/model/observation.ts'
import type { CopyPlan, Plan, Step } from '../../src/model/plan.ts'
import { testify } from '../../src/model/testify.ts'
import type { Prober } from '../../src/observe/prober.ts'
import { survey } from '../../src/observe/survey.ts'
import { aliasOf } from '../../src/plan/alias.ts'
import { plan } from '../../src/plan/plan.ts'
import { take } from '../../src/plan/simulate.ts'
import type { Routing } from '../../src/plan/target-input.ts'
import { address, installed, OPTIONS, receiver, writable } from './builders.ts'

/** A simulated PostgreSQL server. Names are hosts; every one listens on 5432. */
export interface SimServer {
  readonly name: string
  alive: boolean
  inRecovery: boolean
  group: number
  system: string
  timeline: number
  history: readonly TimelineSwitch[]
  /** Of the WAL that it has. */
  lsn: bigint
  /** Where it left the line of its upstream; null: it was not promoted. */
  leftAt: bigint | null
  /** Where it streams from, while that lives and is reached. */
  upstream: string | null
  catalog: Catalog
  installed: Installed
  readonly expand: { readonly cluster: string } | null
  /** citus-ha's own route to it is lost. */
  hiddenFromUs: boolean
}

/** A cluster whose servers answer a survey, and on which plans are carried out. */
export class Simulation implements Prober {
  readonly servers = new Map<string, SimServer>()
  /** `from>to` by name: that route between servers is lost. */
  readonly cut = new Set<string>()
  routing: Routing = OPTIONS.routing
  probes = 0

  add(name: string, parts: Partial<SimServer> & Pick<SimServer, 'group' | 'system'>): SimServer {
    const server: SimServer = {
      name,
      alive: true,
      inRecovery: false,
      timeline: 1,
      history: [],
      lsn: 0x40n,
      leftAt: null,
      upstream: null,
      catalog: [],
      installed: installed(),
      expand: null,
      hiddenFromUs: false,
      ...parts,
    }
    this.servers.set(name, server)
    return server
  }

  get(name: string): SimServer {
    const server = this.servers.get(name)
    if (!server) throw new Error(`no server ${name}`)
    return server
  }

  /** DNS: names without regard to case, and `NAME-2` for a second name of the same server. */
  behind({ host, port }: HostPort): SimServer | undefined {
    return port === 5432 ? this.servers.get(host.toLowerCase().replace(/-2$/, '')) : undefined
  }

  /** Promotes a standby: a timeline of the next number, left at this position. */
  promote(name: string, lsn: string): SimServer {
    const server = this.get(name)
    server.inRecovery = false
    server.upstream = null
    server.history = [...server.history, { timeline: server.timeline, lsn }]
    server.timeline += 1
    server.leftAt = BigInt(`0x${lsn.slice(2)}`)
    server.lsn = server.leftAt
    return server
  }

  /** It follows another server from now on, its data and metadata as there. */
  follow(name: string, upstream: string): void {
    const { catalog, installed: schema, timeline, history, lsn } = this.get(upstream)
    Object.assign(this.get(name), {
      inRecovery: true,
      upstream,
      catalog,
      installed: schema,
      timeline,
      history,
      lsn,
      leftAt: null,
    })
  }

  reaches(from: string, to: SimServer): boolean {
    return to.alive && !this.cut.has(`${from}>${to.name}`)
  }

  async probe(at: HostPort): Promise<Observation> {
    this.probes += 1
    if (this.probes > 500) throw new Error('the survey does not end')
    const server = this.behind(at)
    const none = { kind: 'unreachable', address: at, detail: 'simulated' } as const
    if (!server) return { ...none, cause: 'dns' }
    if (!server.alive) return { ...none, cause: 'refused' }
    return server.hiddenFromUs ? { ...none, cause: 'timeout' } : this.#answer(server, at)
  }

  async held(): Promise<null> {
    return null
  }

  async ask(witness: HostPort, about: HostPort): Promise<Testimony> {
    const from = this.behind(witness)
    const to = this.behind(about)
    const saw = from && to && this.reaches(from.name, to) ? 'reached' : 'refused'
    return testify({ witness, about, how: 'citus_check_connection_to_node' }, saw)
  }

  #answer(server: SimServer, at: HostPort): Answered {
    const { name, group, system, timeline, history, lsn, inRecovery, expand, upstream } = server
    const sender = upstream === null ? undefined : this.get(upstream)
    const hears = inRecovery && sender !== undefined && this.reaches(name, sender)
    const node = writable(name, group, {
      instance: name,
      inRecovery,
      systemIdentifier: system,
      timeline,
      history,
      lsn,
      receiver: hears && upstream !== null ? receiver(upstream, { timeline: sender.timeline }) : null,
      installed: server.installed,
      catalog: server.catalog,
      citus: { useSecondaryNodes: expand ? 'always' : 'never', clusterName: expand?.cluster ?? 'default' },
    })
    return { ...node, address: at }
  }

  /** Carries out a plan, with the check after every single step; then standbys replay. */
  apply(planned: Plan, check: (copy: CopyPlan, before: Catalog, after: Catalog) => void): void {
    const proved = planned.proofs.map((proof) => proof.group)
    for (const [n, copy] of planned.copies.entries()) {
      const server = this.behind(copy.node)
      if (!server || !sameCatalog(server.catalog, copy.before)) throw new Error('an unknown copy is written')
      let rows = server.catalog
      for (const step of copy.steps) {
        const after = take(rows, step)
        check(copy, rows, after)
        rows = written(after, step)
      }
      const flagged = (row: CatalogRow) => planned.unsynced.includes(row.nodeid)
      server.catalog = rows.map((row) => (flagged(row) ? { ...row, metadatasynced: false } : row))
      if (n > 0) continue
      const { lineage, remedies } = server.installed
      const ended = [...planned.remediesEnded, ...planned.remedies.map((remedy) => remedy.nodeid)]
      server.installed = {
        ...server.installed,
        lineage: [
          ...lineage.filter((line) => !proved.includes(line.group)),
          ...planned.proofs.map(({ vouched: _, ...line }) => line),
        ],
        remedies: [...remedies.filter((one) => !ended.includes(one.nodeid)), ...planned.remedies],
      }
    }
    this.replay()
  }

  replay(): void {
    for (const server of this.servers.values()) {
      const upstream = server.upstream === null ? undefined : this.get(server.upstream)
      if (!server.alive || !upstream || !this.reaches(server.name, upstream)) continue
      Object.assign(server, { catalog: upstream.catalog, installed: upstream.installed })
    }
  }

  /** Citus's own metadata sync: unsynced metadata nodes that the coordinator reaches get its rows. */
  sync(coordinator: string): void {
    const truth = this.get(coordinator)
    for (const row of truth.catalog) {
      const server = this.behind(row.address)
      if (row.role !== 'primary' || !row.hasmetadata || row.metadatasynced) continue
      if (!server?.alive || server.inRecovery || server.group !== row.group) continue
      if (this.cut.has(`${coordinator}>${server.name}`)) continue
      truth.catalog = truth.catalog.map((each) =>
        each.nodeid === row.nodeid ? { ...each, metadatasynced: true } : each,
      )
      server.catalog = truth.catalog
    }
    this.replay()
  }
}

/** As PostgreSQL does: an update writes the row to another place, the worst one here. */
function written(rows: Catalog, step: Step): Catalog {
  if (step.op === 'first') return rows
  const isIt = (row: CatalogRow) => row.nodeid === step.nodeid
  return [...rows.filter((row) => !isIt(row)), ...rows.filter(isIt)]
}

export interface SimView {
  readonly survey: Survey
  readonly diagnoses: readonly Diagnosis[]
  readonly plan: Plan
}

/** The pure part of one walk over the simulated cluster. */
export async function lookAt(
  cluster: Simulation,
  seeds: readonly string[],
  claims: Claims,
): Promise<SimView> {
  cluster.probes = 0
  const seen = await survey(cluster, {
    database: 'app',
    seeds: [
      ...seeds.map(address),
      ...(claims.vouched ? [claims.vouched] : []),
      ...claims.standbys.map((standby) => standby.address),
    ],
    witnessFreshnessMs: 5000,
    now: () => new Date(0),
    silence: null,
    names: {
      aliasOf: (given) => aliasOf(given, []),
      ofPrimaries: cluster.routing.secondaryDown === 'auto',
      ofSecondaries: cluster.routing.primaryDown === 'secondary',
      promoting: claims.vouched ? [claims.vouched] : [],
    },
  })
  const diagnoses = diagnose(seen, claims)
  return { survey: seen, diagnoses, plan: plan(seen, diagnoses, { ...OPTIONS, routing: cluster.routing }) }
}

/** Addresses are shown and compared as text. */
export const textOf = (row: CatalogRow | undefined): string => (row ? formatAddress(row.address) : 'none')
