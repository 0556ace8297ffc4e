import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { lentTo, type Scenario } from './scenario.ts'

/** Where a change with two participants besides the coordinator can be cut, in order. */
export const POINTS = [
  'opened',
  'locked',
  'prepared:1',
  'prepared:2',
  'all-prepared',
  'decided',
  'committed:1',
  'committed:2',
] as const

/** Its arguments: a signal, a point at which it sends itself that signal, one at which it waits (or -), a command line. */
export const CHILD = fileURLToPath(new URL('../crash/child.mjs', import.meta.url))

/** Something to be done while the process waits at an earlier point. */
export interface Meanwhile {
  readonly at: string
  readonly work: () => Promise<void>
}

/** Runs a command in a process of its own that kills itself at a point. @returns the signal that ended it */
export async function killedAt(
  point: string,
  args: readonly string[],
  meanwhile?: Meanwhile,
): Promise<string | null> {
  const stdio = meanwhile ? (['pipe', 'pipe', 'ignore'] as const) : 'ignore'
  const child = spawn(process.execPath, [CHILD, 'SIGKILL', point, meanwhile?.at ?? '-', ...args], {
    stdio: stdio as 'pipe',
  })
  const exit = once(child, 'exit')
  if (meanwhile) {
    await Promise.race([once(child.stdout, 'data'), exit])
    await meanwhile.work()
    child.stdin.end('go on')
  }
  const [, signal] = await exit
  return signal as string | null
}

/** The backend in which a change holds the copy of this server; undefined where none does. */
export async function holderOf(scenario: Scenario, server: Server): Promise<number | undefined> {
  const sql = `SELECT a.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE a.application_name = 'citus-ha' AND l.granted
      AND l.relation = 'pg_dist_node'::regclass AND l.mode = 'ExclusiveLock'`
  const [row] = await server.query<{ pid: number }>(sql, [], { database: scenario.cluster.database })
  return row?.pid
}

/** No session of a killed citus-ha is left: what it had sent has been done by now. */
export async function sentIsDone(scenario: Scenario): Promise<void> {
  const servers = scenario.cluster.servers.filter((server) => server.isRunning)
  await waitUntil('what was sent is done', async () => {
    const sql = `SELECT FROM pg_stat_activity WHERE application_name = 'citus-ha'`
    const left = await Promise.all(servers.map((server) => server.query(sql)))
    return left.flat().length === 0
  })
}

/** gids of ours that are still prepared, on any server that runs. */
export async function leftPrepared(
  scenario: Scenario,
  servers = scenario.cluster.servers.filter((server) => server.isRunning),
): Promise<string[]> {
  const rows = await Promise.all(
    servers.map((server) =>
      server.query<{ gid: string }>(`SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'citus\\_ha%'`),
    ),
  )
  return rows.flat().map(({ gid }) => gid)
}

/** Every copy that counts is the same, says what is true, and nothing is left prepared. */
export async function expectRight(
  scenario: Scenario,
  copies: readonly Server[],
  truth: readonly string[],
): Promise<void> {
  expect(await leftPrepared(scenario)).toEqual([])
  for (const copy of copies) expect(await scenario.rows(copy), copy.name).toEqual(truth)
}

/**
 * The rows after worker 1's failover, and the coordinator's too where its new address is given: while the old primary does
 * not follow, the secondary's row has another name of the new one, since somebody may read through it.
 */
export function truthOf(scenario: Scenario, coordinator: string): string[] {
  const at = (name: string) => formatAddress(scenario.cluster.server(name))
  return [
    `1 group 0 primary ${at(coordinator)}`,
    `2 group 1 primary ${at('worker-1-standby')}`,
    `3 group 2 primary ${at('worker-2')}`,
    `4 group 1 secondary ${lentTo(scenario.cluster.server('worker-1-standby'))}`,
    `5 group 2 secondary ${at('worker-2-standby')}`,
  ]
}
