import type { Server } from './server.ts'
import { all, waitUntil } from './wait.ts'

/** A server and its Citus group. */
export interface Member {
  readonly server: Server
  readonly group: number
}

const LSN = `select (case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                         else pg_current_wal_lsn() end)::text as lsn`
const REPLAYED = `select 1 from pg_stat_wal_receiver
                   where status = 'streaming' and pg_last_wal_replay_lsn() >= $1::pg_lsn`

/** Waits until a standby streams and has replayed what `primary` has written by now; looks every 5 ms. */
export async function waitForReplay(standby: Server, primary: Server, limitMs: number): Promise<void> {
  const options = { database: 'postgres' }
  const [target] = await primary.query<{ lsn: string }>(LSN, [], options)
  await standby.withClient(async (client) => {
    const replayed = async () => (await client.query(REPLAYED, [target?.lsn])).rowCount === 1
    await waitUntil(`replay of ${primary.name} on ${standby.name}`, replayed, { limitMs, everyMs: 5 })
  }, options)
}

/** Waits until every standby that runs has replayed what its group's running primary has. */
export async function settle(members: readonly Member[], limitMs: number): Promise<void> {
  const running = members.filter(({ server }) => server.isRunning)
  const standbys = await standbysAmong(running.map(({ server }) => server))
  const primaries = running.filter(({ server }) => !standbys.has(server))
  const waits = running.map(async ({ server, group }) => {
    const primary = primaries.find((other) => other.group === group)
    if (standbys.has(server) && primary) await waitForReplay(server, primary.server, limitMs)
  })
  await all(waits)
}

/** Stops running servers cleanly, primaries first, so that their standbys get all of their WAL. */
export async function stopInOrder(servers: readonly Server[]): Promise<void> {
  const running = servers.filter((server) => server.isRunning)
  for (const server of running) server.thaw()
  const standbys = await standbysAmong(running)
  await all(running.filter((server) => !standbys.has(server)).map((server) => server.stop('fast')))
  await all([...standbys].map((server) => server.stop('fast')))
}

async function standbysAmong(servers: readonly Server[]): Promise<Set<Server>> {
  const answers = await all(servers.map(async (server) => ({ server, standby: await server.isInRecovery() })))
  return new Set(answers.filter(({ standby }) => standby).map(({ server }) => server))
}
