import { z } from 'zod'
import type { Catalog, CatalogRow } from '../model/catalog.ts'
import type { Intent } from '../model/intent.ts'
import type { Installed, TimelineSwitch, WalReceiver, WalSender } from '../model/observation.ts'
import type { Pause } from '../model/pause.ts'

// Rows as the statements in sql/probe and sql/apply return them, read into the model. What the database says is
// input like any other: it is parsed, never cast.

const catalogRow = z
  .object({
    nodeid: z.number().int(),
    groupid: z.number().int(),
    nodename: z.string(),
    nodeport: z.number().int(),
    noderack: z.string(),
    hasmetadata: z.boolean(),
    isactive: z.boolean(),
    noderole: z.enum(['primary', 'secondary', 'unavailable']),
    nodecluster: z.string(),
    metadatasynced: z.boolean().default(true),
    shouldhaveshards: z.boolean().default(true),
    nodeisclone: z.boolean().default(false),
  })
  .transform(
    (row): CatalogRow => ({
      nodeid: row.nodeid,
      group: row.groupid,
      address: { host: row.nodename, port: row.nodeport },
      rack: row.noderack,
      cluster: row.nodecluster,
      role: row.noderole === 'primary' ? 'primary' : 'secondary',
      isactive: row.isactive,
      hasmetadata: row.hasmetadata,
      metadatasynced: row.metadatasynced,
      shouldhaveshards: row.shouldhaveshards,
      isclone: row.nodeisclone,
    }),
  )

const catalog: z.ZodType<Catalog> = z.array(catalogRow)

/** @throws z.ZodError where the rows are not those of `pg_dist_node`. */
export function readCatalog(rows: unknown): Catalog {
  return catalog.parse(rows)
}

/** A timeline history file: `tli <tab> lsn <tab> reason` lines, blank lines and `#` comments. */
export function readHistory(text: string): TimelineSwitch[] {
  return text
    .split('\n')
    .map((line) => /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line))
    .filter((match) => match !== null)
    .map(([, timeline, lsn]) => ({ timeline: Number(timeline), lsn: (lsn ?? '').toUpperCase() }))
}

const receiver = z.object({
  status: z.string().nullable(),
  sender_host: z.string().nullish(),
  sender_port: z.number().nullish(),
  conninfo: z.string().nullish(),
  received_tli: z.number().nullish(),
  heard_ms_ago: z.number().nullish(),
})

/** `pg_stat_get_wal_receiver()` as JSON, from PostgreSQL 10 (only `conninfo` names the sender) on. */
export function readReceiver(row: unknown): WalReceiver | null {
  if (row === null || row === undefined) return null
  const seen = receiver.parse(row)
  if (seen.status === null) return null
  const fromConninfo = seen.conninfo ? senderOfConninfo(seen.conninfo) : null
  const sender = seen.sender_host ? { host: seen.sender_host, port: seen.sender_port ?? 5432 } : fromConninfo
  return {
    status: seen.status,
    sender,
    heardMsAgo: seen.heard_ms_ago ?? null,
    timeline: seen.received_tli ?? null,
  }
}

/**
 * Host and port in a WAL receiver's `conninfo`, which the server prints in libpq's order without quotes and with secrets
 * starred out (`libpqrcv_get_conninfo`): a later value may hold spaces and anything that looks like a host.
 * @returns null where it names none, or several and so not the one it streams from
 */
export function senderOfConninfo(conninfo: string): { host: string; port: number } | null {
  const first = (keyword: string) => new RegExp(`(?:^| )${keyword}=(\\S+)`).exec(conninfo)?.[1]
  const host = first('host') ?? first('hostaddr')
  const port = first('port') ?? '5432'
  if (host === undefined || host.includes(',') || port.includes(',')) return null
  return { host, port: Number(port) }
}

const sender = z
  .object({
    application_name: z.string().nullable(),
    client_host: z.string().nullable(),
    state: z.string().nullable(),
    sync_state: z.string().nullable(),
  })
  .transform(
    (row): WalSender => ({
      applicationName: row.application_name ?? '',
      clientHost: row.client_host,
      state: row.state ?? 'unknown',
      syncState: row.sync_state ?? 'unknown',
    }),
  )

export const serverRow = z.object({
  server_version: z.number().int(),
  in_recovery: z.boolean(),
  read_only: z.boolean(),
  system_identifier: z.string(),
  started: z.string(),
  configured: z.string(),
  port: z.string(),
  timeline: z.number().int().nullable(),
  lsn: z.string().nullable(),
  received_lsn: z.string().nullable(),
  last_commit: z.string().nullable(),
  receiver: z.unknown(),
  senders: z.array(sender),
  synchronous_names: z.string(),
  databases: z.array(z.string()),
  citus_databases: z.array(z.string()),
  prepared: z.array(z.string()),
  lookalikes: z.array(z.object({ gid: z.string(), owner: z.string() })),
  oldest_prepared_ms: z.number().nullable(),
  superuser: z.boolean(),
  reads_statistics: z.boolean(),
  encrypted: z.boolean(),
  has_citus: z.boolean(),
  has_schema: z.boolean(),
  may_use_schema: z.boolean(),
})

export const citusRow = z.object({
  version: z.string(),
  local_group: z.number().int(),
  rows: catalog,
  use_secondary_nodes: z.enum(['never', 'always']),
  cluster_name: z.string(),
})

export const reachesRow = z
  .object({ reaches: z.boolean().nullable() })
  .transform(({ reaches }) => reaches === true)

export const messagesRow = z.object({
  translated: z.boolean(),
  may_set: z.enum(['itself', 'by function', 'no']),
})

export const replayRow = z.object({ paused: z.boolean(), delay: z.string().nullable() })

/** Why a standby replays nothing, or late, on purpose, and what to type; null: it does not. */
export function heldBack({ paused, delay }: z.output<typeof replayRow>): string | null {
  if (paused) return 'its replay is paused: SELECT pg_wal_replay_resume() there'
  if (delay !== null) return `its recovery_min_apply_delay is ${delay}: it shows what was ${delay} ago`
  return null
}

export const identityRow = z.object({ timeline: z.number().int().nullable(), history: z.string() })

export const pauseRow = z
  .object({
    groupid: z.number().int().nullable(),
    since: z.string(),
    by: z.string(),
    why: z.string().nullable(),
  })
  // PostgreSQL writes the zone as an offset, in the session's own.
  .transform(
    ({ groupid, since, ...rest }): Pause => ({
      group: groupid,
      since: new Date(since).toISOString(),
      ...rest,
    }),
  )

export const intentRow = z
  .object({
    groupid: z.number().int(),
    from_host: z.string(),
    from_port: z.number().int(),
    to_host: z.string(),
    to_port: z.number().int(),
    phase: z.enum(['quiescing', 'promoting']),
    by_command: z.boolean(),
    stopped: z.boolean(),
    made_by: z.string(),
    // Before migration 3 there is none.
    run: z.string().default(''),
  })
  .transform(
    (row): Intent => ({
      group: row.groupid,
      from: { host: row.from_host, port: row.from_port },
      to: { host: row.to_host, port: row.to_port },
      phase: row.phase,
      byCommand: row.by_command,
      stopped: row.stopped,
      madeBy: row.made_by,
      run: row.run,
    }),
  )

/** `at_ms`: by the clock of the server that has it, since 1970, as `now_ms` of the whole. */
const position = z.object({
  host: z.string(),
  port: z.number().int(),
  in_recovery: z.boolean(),
  lsn: z.string(),
  at_ms: z.number(),
})

export const installedRow = z
  .object({
    migration: z.number().int(),
    epoch: z.object({ coordinator_timeline: z.number().int(), epoch: z.number().int() }),
    lineage: z.array(
      z.object({
        groupid: z.number().int(),
        system_identifier: z.string(),
        timeline: z.number().int(),
        history: z.string(),
        // From migration 3 on.
        positions: z.array(position).default([]),
      }),
    ),
    now_ms: z.number(),
    remedies: z.array(
      z.object({
        nodeid: z.number().int(),
        groupid: z.number().int(),
        nodename: z.string(),
        nodeport: z.number().int(),
        noderack: z.string(),
        isactive: z.boolean(),
        given_host: z.string(),
        given_port: z.number().int(),
      }),
    ),
    pauses: z.array(pauseRow),
    keeps_transactions: z.boolean(),
    intents: z.array(intentRow),
    addresses: z.array(
      z.object({ groupid: z.number().int(), nodename: z.string(), nodeport: z.number().int() }),
    ),
  })
  .transform(
    (row): Omit<Installed, 'drift'> => ({
      migration: row.migration,
      epoch: { timeline: row.epoch.coordinator_timeline, epoch: row.epoch.epoch },
      mayExecute: true,
      lineage: row.lineage.map((line) => ({
        group: line.groupid,
        systemIdentifier: line.system_identifier,
        timeline: line.timeline,
        history: readHistory(line.history),
      })),
      positions: row.lineage.flatMap((line) =>
        line.positions.map((seen) => ({
          group: line.groupid,
          address: { host: seen.host, port: seen.port },
          inRecovery: seen.in_recovery,
          timeline: line.timeline,
          lsn: BigInt(seen.lsn),
          ageMs: row.now_ms - seen.at_ms,
        })),
      ),
      remedies: row.remedies.map((remedy) => ({
        nodeid: remedy.nodeid,
        group: remedy.groupid,
        address: { host: remedy.nodename, port: remedy.nodeport },
        rack: remedy.noderack,
        isactive: remedy.isactive,
        given: { host: remedy.given_host, port: remedy.given_port },
      })),
      pauses: row.pauses,
      keepsTransactions: row.keeps_transactions,
      intents: row.intents,
      spareAddresses: row.addresses.map((spare) => ({
        group: spare.groupid,
        address: { host: spare.nodename, port: spare.nodeport },
      })),
    }),
  )
