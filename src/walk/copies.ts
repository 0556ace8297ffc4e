import { expectations } from '../apply/verify.ts'
import { sameCatalog } from '../model/catalog.ts'
import { kindOf } from '../model/kinds.ts'
import type { HostPort } from '../model/node.ts'
import { copyShouldBe } from '../plan/copies.ts'
import type { View } from './look.ts'

/** One copy of the node metadata that queries are routed by, beside the coordinator's. */
export interface CopyState {
  readonly node: HostPort
  readonly role: string
  readonly differs: boolean
}

/**
 * How the copies that could be read compared with the coordinator's, when they were surveyed. A standby that does
 * not follow has none that counts.
 */
export function copiesOf({ survey, coordinator, plan, diagnoses }: View): CopyState[] {
  const truth = coordinator.citus?.catalog ?? []
  return expectations(survey, plan, diagnoses).flatMap(({ node, follows, seen }): CopyState[] => {
    if (!follows || seen?.kind !== 'answered' || !seen.citus) return []
    if (seen.instance === coordinator.instance) return []
    const rows = seen.citus.catalog
    const role = kindOf(seen)
    const own = role === 'expand coordinator' && !seen.inRecovery
    const expected = copyShouldBe(rows, truth, own ? 'own rows' : 'as the coordinator’s')
    return [{ node, role, differs: !sameCatalog(rows, expected) }]
  })
}
