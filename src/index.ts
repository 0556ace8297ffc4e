/**
 * citus-ha as a library: keeps `pg_dist_node` right on every copy when a primary changes. Nothing here keeps state between
 * calls, reads the environment or writes to the console; every call may be given an AbortSignal. Times are milliseconds.
 * An error is a `CitusHaError`, with a `code`, or the reason of the signal.
 */
export type { ClusterOptions, Logger } from './library/cluster.ts'
export { type ReconcileOptions, reconcile } from './library/reconcile.ts'
export { type Claims, diagnose, type PlanOptions, plan, survey } from './library/survey.ts'
export { type WatchOptions, watch } from './library/watch.ts'
export type { Diagnosis } from './model/diagnosis.ts'
export { CitusHaError } from './model/failure.ts'
export type { Survey } from './model/observation.ts'
export type { Report } from './model/outcome.ts'
export type { Plan } from './model/plan.ts'
export type { WatchEvent } from './watch/event.ts'
