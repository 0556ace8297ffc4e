import { inOneLine } from '../model/one-line.ts'

/** The SQLSTATEs on which something is decided; texts never are. */
export const SqlState = {
  connectionFailure: '08006',
  internalError: 'XX000',
  invalidPassword: '28P01',
  invalidAuthorization: '28000',
  noSuchDatabase: '3D000',
  invalidSchemaName: '3F000',
  insufficientPrivilege: '42501',
  undefinedObject: '42704',
  notInPrerequisiteState: '55000',
  lockNotAvailable: '55P03',
  deadlockDetected: '40P01',
  serializationFailure: '40001',
  queryCanceled: '57014',
  adminShutdown: '57P01',
  crashShutdown: '57P02',
  cannotConnectNow: '57P03',
  outOfMemory: '53200',
  tooManyConnections: '53300',
  readOnlyTransaction: '25006',
  duplicatePrepared: '42710',
  staleEpoch: 'HA001',
  unexpectedCopy: 'HA002',
  addressNotAllowed: 'HA003',
} as const

/** `code` of an error by a driver or by Node: an SQLSTATE, an errno name or undefined. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const { code } = error as { code?: unknown }
  if (typeof code === 'string') return code
  // Node joins the failures of several addresses of one name ("happy eyeballs").
  const errors = (error as { errors?: unknown }).errors
  return Array.isArray(errors) ? codeOf(errors[0]) : undefined
}

/** Whether a change that met this SQLSTATE changed nothing and may be tried again after a pause. */
export function mayTryAgain(code: string | undefined): boolean {
  return (
    code === SqlState.lockNotAvailable ||
    code === SqlState.deadlockDetected ||
    code === SqlState.serializationFailure
  )
}

/** Of a server that is asked again a little later: it is coming up, its connections are taken, or somebody holds a lock. */
export function willPass(code: string): boolean {
  const PASSING: readonly string[] = [
    SqlState.cannotConnectNow,
    SqlState.tooManyConnections,
    SqlState.adminShutdown,
    SqlState.crashShutdown,
    SqlState.outOfMemory,
    SqlState.queryCanceled,
  ]
  // An errno name, or a limit of ours: it went away, or gave no answer.
  return mayTryAgain(code) || PASSING.includes(code) || !/^[0-9A-Z]{5}$/.test(code)
}

/** Whether somebody else had a lock that was needed. */
export function isLock(code: string | null): boolean {
  return code === SqlState.lockNotAvailable || code === SqlState.deadlockDetected
}

/** How long a change has patience with one of its participants that failed it, where it can do without. */
export type Patience =
  /** It passes by itself as a rule: tried again some rounds, and left out then. */
  | 'some rounds'
  /** It will be so in the next round too, which is made without. */
  | 'none'
  /** It speaks against the change itself: nobody is left out for it. */
  | 'endless'

const PATIENCE: Readonly<Record<string, Patience>> = {
  [SqlState.lockNotAvailable]: 'some rounds',
  [SqlState.deadlockDetected]: 'some rounds',
  [SqlState.serializationFailure]: 'some rounds',
  // What was surveyed is no longer so.
  [SqlState.unexpectedCopy]: 'some rounds',
  [SqlState.staleEpoch]: 'endless',
}

/** By the SQLSTATE with which it failed, or the code of a connection that broke. */
export function patienceWith(code: string | null): Patience {
  return (code === null ? undefined : PATIENCE[code]) ?? 'none'
}

export function messageOf(error: unknown): string {
  return inOneLine(error instanceof Error ? error.message : String(error))
}
