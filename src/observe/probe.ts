import type { z } from 'zod'
import type { ProbeConnection } from '../db/postgres.ts'
import { statement } from '../db/sql.ts'
import { codeOf } from '../db/sqlstate.ts'
import type { HostPort } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { readLocalGroup } from '../model/retired.ts'
import { citusRow, identityRow, installedRow, readHistory, readReceiver, serverRow } from './rows.ts'
import { requireStill, type SchemaTrust, type Verdict } from './trust.ts'

/** What is known of the schema citus_ha of a node, in one database, and how more is found out. */
export interface Schema {
  /** With which an earlier probe could read all there is; null: none could. */
  readonly last: Verdict | null
  /** What is to be thought of it, found out on the connection itself. */
  readonly judge: (ask: (sql: string) => Promise<unknown>) => Promise<Verdict>
}

export interface Probed {
  readonly node: Answered
  /** As `Schema.last` of the next probe. */
  readonly whole: Verdict | null
}

/** What a node says. */
interface Said {
  readonly server: z.infer<typeof serverRow>
  readonly citus: z.infer<typeof citusRow> | null
  readonly installed: z.infer<typeof installedRow> | null
  readonly identity: z.infer<typeof identityRow> | null
  readonly trust: SchemaTrust
  readonly whole: Verdict | null
}

/**
 * Reads everything one survey wants of one node: in one round trip where all is as an earlier probe has found it, else in three
 * or four.
 * @throws what the driver or the server says; `observationOf` tells what it means.
 */
export async function probe(connection: ProbeConnection, address: HostPort, schema: Schema): Promise<Probed> {
  const began = performance.now()
  const said = (await askAtOnce(connection, schema)) ?? (await askInTurn(connection, schema))
  return { node: answered(address, said, performance.now() - began), whole: said.whole }
}

/** syntax_error_or_access_rule_violation, with all that is not there. */
const NOT_THERE = /^42/

/** @returns null where something is not as it was, or was never read as a whole */
async function askAtOnce(connection: ProbeConnection, { last }: Schema): Promise<Said | null> {
  if (last === null) return null
  try {
    const [server, citus, , installed, identity] = await connection.each([
      statement('probe/server'),
      statement('probe/citus'),
      requireStill(last),
      statement('probe/installed'),
      statement('probe/own-identity'),
    ])
    return {
      server: serverRow.parse(server),
      citus: citusRow.parse(citus),
      installed: installedRow.parse(installed),
      identity: identityRow.parse(identity),
      trust: last.trust,
      whole: last,
    }
  } catch (error) {
    if (NOT_THERE.test(codeOf(error) ?? '')) return null
    throw error
  }
}

async function askInTurn(connection: ProbeConnection, { judge }: Schema): Promise<Said> {
  const server = serverRow.parse(await connection.one(statement('probe/server')))
  const verdict = server.has_schema ? await judge((sql) => connection.one(sql)) : null
  const trust = verdict?.trust ?? NO_SCHEMA
  // Without a stamp there was none to look at: one that was made since is nobody's.
  const usable = server.may_use_schema && (verdict?.stamp ?? null) !== null && trust.untrusted.length === 0
  const [citus, installed, own] = await askEach(connection, [
    server.has_citus ? 'probe/citus' : null,
    usable ? 'probe/installed' : null,
    usable && trust.knowsItself ? 'probe/own-identity' : null,
  ])
  const identity = own ?? (server.superuser ? await connection.one(statement('probe/identity')) : null)
  return {
    server,
    citus: citus ? citusRow.parse(citus) : null,
    installed: installed ? installedRow.parse(installed) : null,
    identity: identity ? identityRow.parse(identity) : null,
    trust,
    whole: citus && installed && own ? verdict : null,
  }
}

/** As one message. @param names of statements; null: not asked, and answered with null */
async function askEach(connection: ProbeConnection, names: readonly (string | null)[]): Promise<unknown[]> {
  const asked = names.filter((name) => name !== null)
  const rows = asked.length > 0 ? await connection.each(asked.map(statement)) : []
  return names.map((name) => (name === null ? null : rows[asked.indexOf(name)]))
}

const NO_SCHEMA: SchemaTrust = { untrusted: [], drift: [], knowsItself: false }

function answered(
  address: HostPort,
  { server, citus, installed, identity, trust }: Said,
  latencyMs: number,
): Answered {
  const own = citus && readLocalGroup(citus.local_group)
  return {
    kind: 'answered',
    address,
    instance: [server.system_identifier, server.started, server.port].join('/'),
    serverVersion: server.server_version,
    configured: server.configured,
    inRecovery: server.in_recovery,
    readOnly: server.read_only,
    retired: own?.retired ?? false,
    systemIdentifier: server.system_identifier,
    timeline: server.timeline ?? identity?.timeline ?? null,
    history: identity ? historyOf(identity) : null,
    lsn: server.lsn === null ? null : BigInt(server.lsn),
    receivedLsn: server.received_lsn === null ? null : BigInt(server.received_lsn),
    lastCommit: server.last_commit,
    receiver: readReceiver(server.receiver),
    senders: server.senders,
    synchronousNames: server.synchronous_names,
    citus: citus && {
      version: citus.version,
      localGroup: own?.group ?? citus.local_group,
      catalog: citus.rows,
      useSecondaryNodes: citus.use_secondary_nodes,
      clusterName: citus.cluster_name,
    },
    installed: installed
      ? { ...installed, drift: trust.drift }
      : lockedOut(server.has_schema, trust.untrusted),
    untrusted: trust.untrusted,
    superuser: server.superuser,
    readsStatistics: server.reads_statistics,
    prepared: server.prepared,
    lookalikes: server.lookalikes,
    oldestPreparedMs: server.oldest_prepared_ms,
    databases: server.databases,
    citusDatabases: server.citus_databases,
    encrypted: server.encrypted,
    latencyMs,
  }
}

/** Only the first timeline has no history file: one that is gone says nothing. */
function historyOf({ timeline, history }: z.infer<typeof identityRow>): Answered['history'] {
  const switches = readHistory(history)
  return switches.length === 0 && (timeline ?? 1) > 1 ? null : switches
}

/** The schema is there, but this role may not use it. */
function lockedOut(hasSchema: boolean, untrusted: readonly string[]): Answered['installed'] {
  if (!hasSchema || untrusted.length > 0) return null
  const epoch = { timeline: 0, epoch: 0 }
  const lists = {
    lineage: [],
    positions: [],
    remedies: [],
    pauses: [],
    intents: [],
    spareAddresses: [],
    drift: [],
  }
  return { migration: 0, epoch, mayExecute: false, keepsTransactions: false, ...lists }
}
