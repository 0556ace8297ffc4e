import { CitusHaError } from '../model/failure.ts'
import { type HostPort, parseAddress } from '../model/node.ts'
import type { Report } from '../model/outcome.ts'
import { databasesIn } from '../walk/databases.ts'
import { DEFAULT_WAIT_MS, orderedWalk } from '../walk/order.ts'
import { walk } from '../walk/walk.ts'
import { CLUSTER_OPTIONS, type ClusterOptions, withCluster } from './cluster.ts'
import { GROUP, type Kinds, MILLISECONDS, oneOf, requireOptions, TEXT } from './options.ts'

/** What to reconcile. Times in milliseconds. */
export interface ReconcileOptions extends ClusterOptions {
  /** This group alone. */
  readonly group?: number
  /** `host:port` of a node whose promotion the caller vouches for. */
  readonly promoted?: string
  /** How long that promotion may still be running; 10,000. */
  readonly waitMs?: number
  /** How long to go on while locks or nodes are in the way; `apply.deadline`, 30,000. */
  readonly timeoutMs?: number
  /** `dry-run`: the report has the exact SQL, nothing is changed and nothing is locked. */
  readonly mode?: 'apply' | 'dry-run'
  /** Who asks, for the record that is kept with the change. */
  readonly madeBy?: string
}

const OPTIONS: Kinds<ReconcileOptions> = {
  ...CLUSTER_OPTIONS,
  group: GROUP,
  promoted: TEXT,
  waitMs: MILLISECONDS,
  timeoutMs: MILLISECONDS,
  mode: oneOf('apply', 'dry-run'),
  madeBy: TEXT,
}

/**
 * Proves what was promoted, and makes `pg_dist_node` right on every copy of it: surveys, diagnoses, plans, commits,
 * verifies. Any number of callers may do so at once, since a change is compare-and-set. What the evidence did not allow, or
 * what was in the way, is an outcome of the report and no error.
 * @returns a report for each database, the first URL's first
 * @throws CitusHaError where nothing can be said of the cluster, or of one database, after the others were walked; the
 * signal's reason
 */
export async function reconcile(options: ReconcileOptions): Promise<Report[]> {
  requireOptions(options, OPTIONS)
  const { group, waitMs, timeoutMs, mode, madeBy } = options
  const order = {
    group: group ?? null,
    promoted: options.promoted === undefined ? null : addressOf(options.promoted),
    waitMs: waitMs ?? DEFAULT_WAIT_MS,
    timeoutMs: timeoutMs ?? null,
    mode: mode ?? ('apply' as const),
  }
  return await withCluster(options, async ({ config, access, database, requestOf }) => {
    const seeds = config.coordinators.map(({ address }) => address)
    const databases = (await databasesIn(access, config, database, seeds)) ?? [database]
    const failures: unknown[] = []
    const reports: Report[] = []
    for (const name of databases) {
      const request = orderedWalk(requestOf(name), order)
      const asked = madeBy === undefined ? request : { ...request, madeBy }
      // One that fails takes nothing from the others.
      await walk(access, asked).then(
        (report) => reports.push(report),
        (error: unknown) => failures.push(error),
      )
    }
    if (failures.length > 0) throw failures[0]
    return reports
  })
}

function addressOf(text: string): HostPort {
  const address = parseAddress(text)
  if (address) return address
  throw new CitusHaError('usage', 'option promoted: expected HOST:PORT, such as worker-1b.example:5432')
}
