import { expectations, truthOf, verify } from '../apply/verify.ts'
import { COORDINATOR_GROUP } from '../model/catalog.ts'
import type { Answered } from '../model/observation.ts'
import type { CopyReport } from '../model/outcome.ts'
import type { Access } from './access.ts'
import type { Clock } from './clock.ts'
import type { View } from './look.ts'
import { recoverNow } from './recovery.ts'
import type { WalkRequest } from './walk-request.ts'

/**
 * Reads every copy until it is what the plan of this view makes of it, or the walk's time is over.
 * @param decidedAt `performance.now()`; null where nothing was changed, and what was seen is enough
 */
export async function prove(
  access: Access,
  request: WalkRequest,
  seen: View,
  decidedAt: number | null,
  clock: Clock,
): Promise<CopyReport[]> {
  const prober = access.prober(request.database)
  const named = request.claims.standbys.filter(({ group }) => group === COORDINATOR_GROUP)
  const candidates = [...request.seeds, ...named.map(({ address }) => address)]
  return await verify(expectations(seen.survey, seen.plan, seen.diagnoses, candidates), {
    truth: truthOf(seen.plan),
    probe: (address) => prober.probe(address),
    rows: async (address) => (await prober.rows?.(address)) ?? null,
    held: (address) => prober.held(address),
    resolve: resolverFor(access, request, seen, clock),
    patienceMs: Math.max(1000, clock.leftMs),
    decidedAt,
    signal: request.signal,
  })
}

/** Resolves what is prepared on one node; one at a time, since each takes the change lock. */
function resolverFor(access: Access, request: WalkRequest, { survey, coordinator }: View, clock: Clock) {
  let running: Promise<unknown> | null = null
  return async (node: Answered): Promise<void> => {
    const scope = { survey: { ...survey, nodes: [coordinator, node] }, coordinator }
    running ??= recoverNow(access, request, scope, 'resolve', clock)
    // What fails now is tried again at the next look, or by any later run.
    await running.catch(() => undefined)
    running = null
  }
}
