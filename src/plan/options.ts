import type { Ailing } from '../model/ailing.ts'
import type { HostPort } from '../model/node.ts'
import type { ListedStandby } from '../model/plan.ts'
import type { AliasOf } from './alias.ts'
import type { Routing } from './target-input.ts'

export interface PlanOptions {
  /** Groups to change; null for all. The copies of the others take part all the same. */
  readonly groups: readonly number[] | null
  readonly aliases: readonly AliasOf[]
  readonly routing: Routing
  /** Names in primaries’ rows that are never rewritten: they lead to whoever is the primary, by themselves. */
  readonly following: readonly HostPort[]
  /** Standbys that are to have a row of their own. */
  readonly register: readonly ListedStandby[]
  /** Copies that failed an earlier round: this one is made without them. */
  readonly ailing: readonly Ailing[]
  /** The migration of the schema `citus_ha` that this program needs on a copy it rewrites. */
  readonly migration: number
}
