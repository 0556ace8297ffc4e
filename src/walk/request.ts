import { userInfo } from 'node:os'
import { type ChangeHooks, NO_HOOKS } from '../apply/hooks.ts'
import type { Config } from '../config/schema.ts'
import { NO_CLAIMS } from '../diagnose/facts.ts'
import { parseAddress } from '../model/node.ts'
import { LONGEST_ROUND_MS } from './round-limit.ts'
import type { WalkRequest } from './walk-request.ts'

export interface Caller {
  readonly signal: AbortSignal
  readonly hooks?: ChangeHooks
  readonly inFlight?: Set<string>
  /** Told what is going on, a line each. */
  readonly progress: (line: string) => void
}

/** What a walk needs, from the configuration. */
export function requestFor(config: Config, database: string, caller: Caller): WalkRequest {
  return {
    database,
    seeds: config.coordinators.map((candidate) => candidate.address),
    acquainted: [],
    known: null,
    seen: null,
    silence: null,
    fenceOf: () => null,
    quiesced: [],
    believedDown: null,
    ailing: [],
    claims: {
      ...NO_CLAIMS,
      standbys: config.standbys,
      maxLag: config.routing.maxLag,
      following: [...config.addresses].flatMap(([registered, { follows }]) => {
        const address = parseAddress(registered)
        return address && follows !== null ? [address] : []
      }),
    },
    groups: null,
    aliases: [...config.addresses].flatMap(([registered, { alias }]) => {
      const address = parseAddress(registered)
      return address && alias ? [{ address, alias }] : []
    }),
    routing: config.routing,
    register: config.register ? config.standbys : [],
    cluster: config.cluster,
    waitMs: 0,
    deadlineMs: config.apply.deadline,
    lockTimeoutMs: config.apply.lockTimeout,
    longestRoundMs: LONGEST_ROUND_MS,
    statementMs: 2000,
    forceAfterMs: config.apply.force === 'never' ? null : config.apply.force,
    began: performance.now(),
    decisionWaitMs: config.apply.decisionWait,
    witnessFreshnessMs: config.detect.witnessFreshness,
    mode: 'apply',
    madeBy: `citus-ha (${osUser()})`,
    signal: caller.signal,
    hooks: caller.hooks ?? NO_HOOKS,
    inFlight: caller.inFlight ?? new Set(),
    progress: caller.progress,
  }
}

function osUser(): string {
  try {
    return userInfo().username
  } catch {
    return 'unknown'
  }
}
