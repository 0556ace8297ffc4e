import { diagnose as diagnoseBy } from '../diagnose/diagnose.ts'
import { type Claims as AllClaims, NO_CLAIMS } from '../diagnose/facts.ts'
import { currentMigration } from '../install/migrations.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import type { Survey } from '../model/observation.ts'
import type { Plan } from '../model/plan.ts'
import type { PlanOptions as AllPlanOptions } from '../plan/options.ts'
import { plan as planBy } from '../plan/plan.ts'
import { requireCoordinator } from '../walk/checks.ts'
import { Clock } from '../walk/clock.ts'
import { observe } from '../walk/look.ts'
import { CLUSTER_OPTIONS, type ClusterOptions, signalOf, withCluster } from './cluster.ts'
import { requireOptions } from './options.ts'

/** What the caller adds to a survey. */
export type Claims = Partial<AllClaims>

/**
 * Which groups to change, by which other names primaries may serve reads, and what is done about nodes that are down (as
 * `routing` of the configuration file); without them all, none, and what the file's defaults are.
 */
export type PlanOptions = Partial<Omit<AllPlanOptions, 'migration' | 'ailing'>>

const ROUTING = {
  secondaryDown: 'auto',
  primaryDown: 'leave',
  readers: 'assumed',
  maxLag: 16 * 1024 ** 2,
} as const

/**
 * Asks every node of one database once, each within `detect.timeout` (2 s). A node that does not answer is a fact like
 * the others. Nothing is changed and nothing is locked.
 * @throws CitusHaError `usage` or `configuration`; the signal's reason
 */
export async function survey(options: ClusterOptions): Promise<Survey> {
  requireOptions(options, CLUSTER_OPTIONS)
  return await withCluster(options, async ({ access, database, requestOf }) => {
    const observing = observe(access, requestOf(database), new Clock())
    // A probe that was cut may have begun anew.
    return await unlessAborted(observing, signalOf(options), () => access.close())
  })
}

/** What the survey means, for each group of the coordinator's `pg_dist_node`. Pure. */
export function diagnose(seen: Survey, claims: Claims = {}): Diagnosis[] {
  return diagnoseBy(seen, { ...NO_CLAIMS, ...claims })
}

/**
 * What has to be written where, on this evidence. Pure: it carries nothing out.
 * @throws CitusHaError `no-coordinator`, `configuration` or `two-coordinators`, where the survey found no one coordinator
 */
export function plan(seen: Survey, diagnoses: readonly Diagnosis[], options: PlanOptions = {}): Plan {
  requireCoordinator(seen)
  return planBy(seen, diagnoses, {
    groups: null,
    aliases: [],
    routing: ROUTING,
    following: [],
    register: [],
    ...options,
    ailing: [],
    migration: currentMigration(),
  })
}

/** Who aborts does not wait for nodes that are silent. @param after told when the work has come to its end all the same */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal, after: () => unknown): Promise<T> {
  const end = new AbortController()
  const aborted = new Promise<never>((_, reject) => {
    const give = () => reject(signal.reason)
    signal.addEventListener('abort', give, { once: true, signal: end.signal })
    if (signal.aborted) give()
  })
  try {
    return await Promise.race([work, aborted])
  } catch (error) {
    work.then(after, after)
    throw error
  } finally {
    end.abort()
  }
}
