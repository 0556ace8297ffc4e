import { type CatalogRow, primaryOf, rowAt } from '../model/catalog.ts'
import type { Inspection, Look } from '../model/inspection.ts'
import { kindOf } from '../model/kinds.ts'
import type { About, Step } from '../model/next-step.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Observation } from '../model/observation.ts'
import { remedyOf } from '../model/remedy.ts'
import { psqlAsSuperuser } from '../model/shell.ts'
import type { Facts, Found } from './check.ts'

// What several checks ask of the facts.

export const catalogOf = ({ coordinator }: Facts) => coordinator.citus?.catalog ?? []

export function seenAt({ survey }: Facts, address: HostPort): Observation | undefined {
  return survey.nodes.find((node) => sameAddress(node.address, address))
}

export function seenIn<T>(look: Look<T>): T | null {
  return look.kind === 'seen' ? look.value : null
}

/** A setting as a session of this role has it on that server; null where the server has no such setting. */
export function settingOf({ session }: Inspection, name: string): string | null {
  return seenIn(session)?.settings[name]?.value ?? null
}

/** Servers that take writes and have Citus in this database. */
export function writers({ inspections }: Facts): Inspection[] {
  return inspections.filter(({ node }) => !node.inRecovery && node.citus !== null)
}

/** The name by which the catalog knows a server, else the one by which it was asked. */
export function nameOf(facts: Facts, node: Answered): HostPort {
  const row = catalogOf(facts).find((each) => {
    const seen = seenAt(facts, each.address)
    return seen?.kind === 'answered' && seen.instance === node.instance
  })
  return row?.address ?? node.address
}

export function groupOf(facts: Facts, node: Answered): number | null {
  return node.citus?.localGroup ?? rowAt(catalogOf(facts), node.address)?.group ?? null
}

/** Rows that a remedy has lent to another name of a primary: meant to be so, until it ends. */
export function isLent({ coordinator }: Facts, row: CatalogRow): boolean {
  return remedyOf(row, coordinator.installed?.remedies ?? []) !== undefined
}

/** Servers that have to be able to take part in a change now, or after the next promotion. */
export function members(facts: Facts): Inspection[] {
  return facts.inspections.filter(({ node }) => node.citus !== null && kindOf(node) !== 'expand coordinator')
}

/** Servers by the database system they are of: a primary and all its physical standbys. */
export function systemsOf({ inspections }: Facts): Map<string, Inspection[]> {
  const systems = new Map<string, Inspection[]>()
  for (const each of inspections) {
    const { systemIdentifier } = each.node
    systems.set(systemIdentifier, [...(systems.get(systemIdentifier) ?? []), each])
  }
  return systems
}

/** Something found about one server, which the summary names. */
export function serverFound(
  facts: Facts,
  node: Inspection['node'],
  what: string,
  evidence: readonly string[],
  next: Step,
): Found {
  const at = nameOf(facts, node)
  return { group: groupOf(facts, node), node: at, summary: `${formatAddress(at)}: ${what}`, evidence, next }
}

/** Where what a server has in its tables is written: on a standby's primary. */
export function writerOf({ inspections }: Facts, node: Answered): Answered {
  const writer = inspections.find(
    (each) => !each.node.inRecovery && each.node.systemIdentifier === node.systemIdentifier,
  )
  return writer?.node ?? node
}

/** Sets something in a server's configuration, wherever it was set there before. */
export function alterSystem(facts: Facts, node: Answered, name: string, value: string): string {
  const set = `ALTER SYSTEM SET ${name} = ${value}`
  return psqlAsSuperuser(nameOf(facts, node), facts.survey.database, set, 'SELECT pg_reload_conf()')
}

/** What a step about a group, or one of its nodes, needs to know. */
export function aboutOf(facts: Facts, group: number | null, node: HostPort | null): About {
  const { coordinator, survey } = facts
  const row = group === null ? undefined : primaryOf(catalogOf(facts), group)
  const { database } = survey
  return { database, coordinator: coordinator.address, group, node, primary: row?.address ?? null }
}
