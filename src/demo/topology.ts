/** A standby of a worker. */
export interface StandbySpec {
  /** Has a row of its own in pg_dist_node; default true. */
  readonly registered?: boolean
  /** Default `default`. */
  readonly nodecluster?: string
}

/** A worker group. */
export interface WorkerSpec {
  readonly standbys?: readonly StandbySpec[]
  /** Holds the metadata itself (hasmetadata); default true. */
  readonly metadata?: boolean
}

/** A physical standby of the coordinator. */
export interface CoordinatorStandbySpec {
  /** `expand` reads through secondaries only (citus.use_secondary_nodes = always). */
  readonly kind: 'standby' | 'expand'
  /** citus.cluster_name of an `expand`; default `default`. */
  readonly clusterName?: string
  /** Has a row in pg_dist_node; default false, as Citus has no use for it. */
  readonly registered?: boolean
}

/** What `startCluster` builds. */
export interface ClusterSpec {
  /** Must not exist; default a new directory in the system's temporary one. Removed by `stop`. */
  readonly directory?: string
  /** Default `app`. */
  readonly database?: string
  readonly extraDatabases?: readonly string[]
  /** Default two workers with one standby each. */
  readonly workers?: readonly WorkerSpec[]
  /** Default one of kind `standby`. */
  readonly coordinatorStandbys?: readonly CoordinatorStandbySpec[]
  /** Lines put first in pg_hba.conf. */
  readonly hba?: readonly string[]
  /** Settings of every server, over the defaults. */
  readonly settings?: Readonly<Record<string, string>>
  /** `auto` (default) takes real Citus where the PostgreSQL found has it. */
  readonly backend?: 'auto' | 'standin'
  /** Which PostgreSQL, see `findBinaries`. */
  readonly prefer?: 'system' | 'embedded'
  /** Told what begins, for people. */
  readonly onProgress?: (step: string) => void
}

/** A server to be made, and whose standby it is. */
export interface Planned {
  readonly name: string
  readonly group: number
  /** The primary's name; null for a primary. */
  readonly upstream: string | null
  readonly settings: Readonly<Record<string, string>>
}

const DEFAULT_WORKERS: readonly WorkerSpec[] = [{ standbys: [{}] }, { standbys: [{}] }]

/** The workers of a spec. */
export function workersOf(spec: ClusterSpec): readonly WorkerSpec[] {
  return spec.workers ?? DEFAULT_WORKERS
}

/** The coordinator's standbys of a spec. */
export function coordinatorStandbysOf(spec: ClusterSpec): readonly CoordinatorStandbySpec[] {
  return spec.coordinatorStandbys ?? [{ kind: 'standby' }]
}

/**
 * Every server of a spec, a primary before its standbys. Names: `coordinator`, `coordinator-standby`,
 * `coordinator-expand`, `worker-1`, `worker-1-standby`; a second of a kind gets `-2`.
 */
export function planServers(spec: ClusterSpec): Planned[] {
  const planned: Planned[] = []
  const made = new Map<string, number>()
  const add = (kind: string, group: number, upstream: string | null, settings: Planned['settings'] = {}) => {
    const ordinal = (made.get(kind) ?? 0) + 1
    made.set(kind, ordinal)
    planned.push({ name: ordinal === 1 ? kind : `${kind}-${ordinal}`, group, upstream, settings })
  }
  add('coordinator', 0, null)
  for (const { kind, clusterName = 'default' } of coordinatorStandbysOf(spec)) {
    const always = { 'citus.use_secondary_nodes': 'always', 'citus.cluster_name': clusterName }
    add(`coordinator-${kind}`, 0, 'coordinator', kind === 'expand' ? always : {})
  }
  for (const [index, worker] of workersOf(spec).entries()) {
    const primary = `worker-${index + 1}`
    add(primary, index + 1, null)
    for (const _ of worker.standbys ?? []) add(`${primary}-standby`, index + 1, primary)
  }
  return planned
}
