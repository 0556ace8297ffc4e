/**
 * citus-ha as a library: the steps of the pipeline, for programs that have a clock, a logger and a cluster of
 * their own. Nothing here keeps state; every wait takes an AbortSignal or a limit in milliseconds.
 */
export { loadConfig } from './config/load.ts'
export type { Config } from './config/schema.ts'
export { diagnose } from './diagnose/diagnose.ts'
export type { Claims } from './diagnose/facts.ts'
export type { Diagnosis } from './model/diagnosis.ts'
export { CitusHaError } from './model/failure.ts'
export type { HostPort } from './model/node.ts'
export type { Observation, Survey } from './model/observation.ts'
export { exitCodeOf, type Report } from './model/outcome.ts'
export type { Plan } from './model/plan.ts'
export { type Prober, survey } from './observe/survey.ts'
export { plan } from './plan/plan.ts'
export type { Access } from './walk/access.ts'
export { Connections } from './walk/connections.ts'
export { type WalkRequest, walk as reconcile } from './walk/walk.ts'
