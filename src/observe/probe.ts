import type { z } from 'zod'
import type { ProbeConnection } from '../db/postgres.ts'
import { statement } from '../db/sql.ts'
import type { HostPort } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { readLocalGroup } from '../model/retired.ts'
import { citusRow, identityRow, installedRow, readHistory, readReceiver, serverRow } from './rows.ts'
import type { Verdict } from './trust.ts'

/**
 * Reads everything one survey wants of one node, in two round trips, or three.
 * @param judge what is to be thought of the schema citus_ha on this connection; it is asked at the same time as the server
 * @throws what the driver or the server says; `observationOf` tells what it means.
 */
export async function probe(
  connection: ProbeConnection,
  address: HostPort,
  judge: (connection: ProbeConnection) => Promise<Verdict>,
): Promise<Answered> {
  const began = performance.now()
  const [server, { stamp, trust }] = await Promise.all([
    connection.one(statement('probe/server')).then((row) => serverRow.parse(row)),
    judge(connection),
  ])
  // Without a stamp there was none to look at: one that was made since is nobody's.
  const usable = server.may_use_schema && stamp !== null && trust.untrusted.length === 0
  const [citus, installed, ownIdentified] = await Promise.all([
    server.has_citus ? connection.one(statement('probe/citus')).then((row) => citusRow.parse(row)) : null,
    usable ? connection.one(statement('probe/installed')).then((row) => installedRow.parse(row)) : null,
    usable && trust.knowsItself ? ownIdentity(connection) : null,
  ])
  const own = citus && readLocalGroup(citus.local_group)
  const identity = ownIdentified ?? (server.superuser ? await superuserIdentity(connection) : null)
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
    encrypted: server.encrypted,
    latencyMs: performance.now() - began,
  }
}

/** Only the first timeline has no history file: one that is gone says nothing. */
function historyOf({ timeline, history }: z.infer<typeof identityRow>): Answered['history'] {
  const switches = readHistory(history)
  return switches.length === 0 && (timeline ?? 1) > 1 ? null : switches
}

async function ownIdentity(connection: ProbeConnection) {
  return identityRow.parse(await connection.one(statement('probe/own-identity')))
}

async function superuserIdentity(connection: ProbeConnection) {
  return identityRow.parse(await connection.one(statement('probe/identity')))
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
