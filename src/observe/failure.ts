import { SessionLost } from '../db/pg.ts'
import { codeOf, SqlState } from '../db/sqlstate.ts'
import type { HostPort } from '../model/node.ts'
import {
  type Observation,
  type UnreachableCause,
  type UnreadableCause,
  willPass,
} from '../model/observation.ts'
import { inOneLine } from '../model/one-line.ts'

const UNREACHABLE: Readonly<Record<string, UnreachableCause>> = {
  ECONNREFUSED: 'refused',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  CONNECTION_CLOSED: 'reset',
  CONNECTION_ENDED: 'reset',
  CONNECTION_DESTROYED: 'reset',
  CONNECT_TIMEOUT: 'timeout',
  ETIMEDOUT: 'timeout',
  PROBE_TIMEOUT: 'timeout',
  EHOSTUNREACH: 'unroutable',
  ENETUNREACH: 'unroutable',
  EADDRNOTAVAIL: 'unroutable',
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  EAI_FAIL: 'dns',
  [SqlState.connectionFailure]: 'reset',
}

const UNREADABLE: Readonly<Record<string, UnreadableCause>> = {
  [SqlState.invalidPassword]: 'auth',
  [SqlState.invalidAuthorization]: 'auth',
  [SqlState.noSuchDatabase]: 'no-database',
  [SqlState.cannotConnectNow]: 'starting',
  [SqlState.tooManyConnections]: 'too-many-connections',
  [SqlState.insufficientPrivilege]: 'privilege',
}

/** Whether somebody ended the connection, which says little of the server: a new one will tell. */
export function wasCut(error: unknown): boolean {
  const code = codeOf(error) ?? ''
  return UNREACHABLE[code] === 'reset' || code === SqlState.adminShutdown || code === SqlState.crashShutdown
}

/** Whether it is about a server that is gone, does not answer, or takes no connection just now: not about what it was asked. */
export function wasAway(error: unknown): boolean {
  // Of which server makes no difference.
  const seen = observationOf(error, { host: '', port: 0 })
  return error instanceof SessionLost || wasCut(error) || seen.kind === 'unreachable' || willPass(seen)
}

/**
 * What a failed probe shows. A node that answered with an error is alive; only silence is `unreachable`, and
 * even that is only our view of it.
 */
export function observationOf(error: unknown, address: HostPort): Observation {
  const code = codeOf(error)
  const detail = inOneLine(error instanceof Error && error.message ? error.message : String(code ?? error))
  const unreachable = code === undefined ? undefined : UNREACHABLE[code]
  if (unreachable) return { kind: 'unreachable', address, cause: unreachable, detail }
  const tls = code !== undefined && /^ERR_(TLS|SSL)|CERT|^UNABLE_TO_VERIFY/.test(code)
  const cause = tls ? 'tls' : ((code === undefined ? undefined : UNREADABLE[code]) ?? 'error')
  return { kind: 'unreadable', address, cause, detail }
}
