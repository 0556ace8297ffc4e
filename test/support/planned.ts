import { expect } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { type Claims, NO_CLAIMS } from '../../src/diagnose/facts.ts'
import type { Catalog } from '../../src/model/catalog.ts'
import { formatAddress } from '../../src/model/node.ts'
import type { Observation, Testimony } from '../../src/model/observation.ts'
import type { Plan } from '../../src/model/plan.ts'
import type { PlanOptions } from '../../src/plan/options.ts'
import { plan } from '../../src/plan/plan.ts'
import { simulate } from '../../src/plan/simulate.ts'
import type { View } from '../../src/walk/look.ts'
import {
  givenIn,
  installed,
  left,
  lineage,
  OPTIONS,
  silent,
  standby,
  surveyOf,
  TWO_WORKERS,
  testimony,
  writable,
} from './builders.ts'

export const KNOWN = [lineage(0), lineage(1), lineage(2)]
export const SECOND = { timeline: 2, history: [left(1, '0/50')] }

interface Given {
  readonly catalog?: Catalog
  /** In the place of the healthy node at the same address, or beside them. */
  readonly nodes?: readonly Observation[]
  readonly claims?: Claims
  readonly options?: Partial<PlanOptions>
  /** Default: the coordinator reaches none of those that are silent. */
  readonly heard?: readonly Testimony[]
  readonly coordinator?: Parameters<typeof writable>[2]
}

/** What a walk knows of two workers of a standby each, but for what is given. */
export function viewed({
  catalog = TWO_WORKERS,
  nodes = [],
  claims = NO_CLAIMS,
  options,
  heard,
  coordinator,
}: Given): View {
  const all = [
    writable('cn1', 0, { installed: installed({ lineage: KNOWN }), catalog, ...coordinator }),
    writable('w1a', 1, { catalog }),
    standby('w1b', 1, 'w1a', { catalog }),
    writable('w2a', 2, { catalog }),
    standby('w2b', 2, 'w2a', { catalog }),
    ...nodes,
  ]
  const silentOnes = nodes.filter((node) => node.kind === 'unreachable')
  const down = silentOnes.map((node) => testimony('cn1', formatAddress(node.address), 'down'))
  const survey = surveyOf(all, heard ?? down)
  const [first] = survey.nodes
  if (first?.kind !== 'answered') throw new Error('the coordinator is silent')
  const diagnoses = diagnose(survey, claims)
  const made = plan(survey, diagnoses, { ...OPTIONS, ...options })
  const given = givenIn({ claims })
  return { survey, coordinator: first, diagnoses, plan: made, groups: null, aliases: [], given }
}

export function planned(given: Given): Plan {
  return viewed(given).plan
}

/** The coordinator's copy afterwards: `nodeid address rack`, with what is unusual of it. */
export function afterwards(made: Plan): string[] {
  const [copy] = made.copies
  expect(copy?.role).toBe('coordinator')
  expect(simulate(copy?.before ?? [], copy?.steps ?? [])).toEqual(copy?.after)
  return (copy?.after ?? []).map((row) => {
    const odd = [row.isactive ? '' : ' inactive', row.cluster === 'default' ? '' : ` ${row.cluster}`].join('')
    return `${row.nodeid} ${row.address.host} ${row.rack}${odd}`
  })
}

export const FAILED_OVER: readonly Observation[] = [silent('w1a'), writable('w1b', 1, SECOND)]
export const at = (host: string) => ({ host, port: 5432 })
