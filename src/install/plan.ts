import { functionFiles, identifier, literal } from '../db/sql.ts'
import { CitusHaError } from '../model/failure.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { NodeFacts } from './facts.ts'
import { alterSystem, PROMOTING, schemaGrants } from './grants.ts'
import { migrations } from './migrations.ts'

export interface InstallOrder {
  /** A role that is made if it is missing, and may do what citus-ha needs; null: no role is touched. */
  readonly role: string | null
  /** Whether the role may also promote, and make a server read-only: what a switchover needs beyond the ordinary. */
  readonly switchover: 'grant' | 'leave'
  /** Addresses that rows of a group may be given besides their own. */
  readonly allowed: readonly { readonly group: number; readonly address: HostPort }[]
}

/** One thing that is not as it is to be on a server, with the SQL that makes it so. */
export interface Step {
  readonly kind: 'schema' | 'migrations' | 'functions' | 'role' | 'grant' | 'address' | 'password'
  /** What it is about, such as `role citus_ha`, and what is done with it, such as `created`: between them goes `would be`. */
  readonly what: string
  readonly done: string
  readonly sql: readonly string[]
}

/** What a step did, or would do, as people read it. */
export function sentence({ what, done }: Pick<Step, 'what' | 'done'>, when: 'past' | 'conditional'): string {
  return `${what} ${when === 'past' ? '' : 'would be '}${done}`
}

/**
 * What is to be done on a server, in its order; empty: it is up to date. Pure: the same for a run, a dry run and a script.
 * @throws CitusHaError where the database is ahead of this program
 */
export function planInstall(facts: NodeFacts, order: InstallOrder): Step[] {
  const known = migrations()
  const needed = known.at(-1)?.number ?? 0
  if (facts.migration > needed) {
    throw new CitusHaError(
      'configuration',
      `the schema citus_ha is at migration ${facts.migration}, this citus-ha knows migration ${needed}: upgrade citus-ha`,
    )
  }
  const missing = known.filter(({ number }) => number > facts.migration)
  const anew = missing.length > 0 || facts.drift.length > 0
  const steps: Step[] = []
  if (!facts.present) steps.push({ kind: 'schema', what: 'schema citus_ha', done: 'created', sql: [] })
  if (missing.length > 0) {
    const numbers = missing.map(({ number }) => number).join(', ')
    const sql = missing.map(
      ({ number, name, sql: text }) =>
        `${text}; INSERT INTO citus_ha.migration (number, name) VALUES (${literal(number)}, ${literal(name)})`,
    )
    steps.push({ kind: 'migrations', what: `migrations ${numbers}`, done: 'applied', sql })
  }
  if (anew) {
    const details = missing.length > 0 ? '' : `: ${facts.drift.join(', ')}`
    // Whoever may use the schema may call what is new in it: an upgrade does not ask for the role again.
    const others = facts.users.filter((user) => user !== order.role)
    const sql = [
      ...functionFiles(),
      'REVOKE ALL ON ALL FUNCTIONS IN SCHEMA citus_ha FROM PUBLIC',
      ...others.flatMap(schemaGrants),
    ]
    const done = facts.present ? `created again${details}` : 'created'
    steps.push({ kind: 'functions', what: 'functions', done, sql })
  }
  const grants = order.role === null ? [] : roleSteps(facts, order.role, anew, order.switchover === 'grant')
  return [...steps, ...grants, ...allowSteps(facts, order)]
}

function roleSteps(facts: NodeFacts, role: string, anew: boolean, switchover: boolean): Step[] {
  const name = identifier(role)
  const grant = (what: string, sql = [`GRANT ${what} TO ${name}`]): Step => ({
    kind: 'grant',
    what,
    done: `granted to ${role}`,
    sql,
  })
  const lacking = [
    ...(facts.statistics ? [] : ['pg_read_all_stats']),
    ...(facts.connects ? [] : [`CONNECT ON DATABASE ${identifier(facts.database)}`]),
    // Connections that are kept back, which a failover uses up (PostgreSQL 16).
    ...(facts.reserved || !facts.reserves ? [] : ['pg_use_reserved_connections']),
  ]
  return [
    ...(facts.role
      ? []
      : [
          {
            kind: 'role',
            what: `role ${role}`,
            done: 'created',
            sql: [`CREATE ROLE ${name} LOGIN`],
          } as const,
        ]),
    ...lacking.map((what) => grant(what)),
    ...(facts.uses && !anew
      ? []
      : [
          grant(
            'USAGE of the schema citus_ha, SELECT of its tables, EXECUTE of its functions',
            schemaGrants(role),
          ),
        ]),
    ...(switchover ? switchoverGrants(facts).map((what) => grant(what)) : []),
  ]
}

/** Of what a switchover needs, what the role was not granted yet. */
function switchoverGrants({ promoting, parameters }: NodeFacts): string[] {
  return [
    ...PROMOTING.filter(({ name }) => !promoting.includes(name)).map(({ what }) => what),
    ...(parameters ?? []).filter(({ granted }) => !granted).map(({ name }) => alterSystem(name)),
  ]
}

function allowSteps(facts: NodeFacts, order: InstallOrder): Step[] {
  const key = ({ group, address }: InstallOrder['allowed'][number]) =>
    `${group} ${address.host} ${address.port}`
  const known = new Set(facts.allowed.map(key))
  return order.allowed.flatMap((each): Step[] => {
    if (known.has(key(each))) return []
    known.add(key(each))
    const { group, address } = each
    const values = [literal(group), literal(address.host), literal(address.port)].join(', ')
    return [
      {
        kind: 'address',
        what: `address ${formatAddress(address)}`,
        done: `allowed in rows of group ${group}`,
        sql: [`INSERT INTO citus_ha.allowed_address VALUES (${values}) ON CONFLICT DO NOTHING`],
      },
    ]
  })
}
