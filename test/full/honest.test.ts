import type pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { run } from '../../src/cli/program.ts'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { pauseNode } from '../support/capabilities.ts'
import { openTransaction } from '../support/clients.ts'
import { expectRight, leftPrepared, truthOf } from '../support/crash.ts'
import { Scenario } from '../support/scenario.ts'

describe('what a report says of what did not go well', () => {
  let scenario: Scenario
  let open: pg.Client[] = []
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const copies = () => ['coordinator', 'worker-1-standby', 'worker-2'].map(server)

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
    await server('worker-1-standby').promote()
  })
  afterEach(async () => {
    for (const each of scenario.cluster.servers) each.thaw()
    await Promise.all(open.map((session) => session.end().catch(() => undefined)))
    open = []
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  const vouched = () => ['reconcile', '--json', '--group', '1', '--promoted', at('worker-1-standby')]
  const on = (name: string, sql: string) =>
    server(name).query(sql, [], { database: scenario.cluster.database })
  const blockedBy = async (name: string) => {
    const { database } = scenario.cluster
    const session = await openTransaction(server(name), database, pauseNode(2))
    open.push(session)
    const { rows } = await session.query('SELECT pg_backend_pid() AS pid')
    return Number(rows[0].pid)
  }

  it('that it could not ask who was in the way', async () => {
    await on('worker-2', 'REVOKE EXECUTE ON FUNCTION citus_ha.blockers(int) FROM citus_ha')
    await blockedBy('worker-2')
    // Long enough for a second round on a busy machine: it is said in between.
    const ran = await scenario.run(...vouched(), '--timeout', '4s')
    // Left out, and right where Citus's own sync was quick.
    expect([0, 5], ran.stderr).toContain(ran.exitCode)
    const said = `${at('worker-2')}: the blocking sessions could not be asked: permission denied`
    expect(JSON.parse(ran.stdout).warnings.join('\n')).toContain(said)
    expect(ran.stderr).toContain(said)
  })

  it('whom it ended, in whichever round', async () => {
    const pids = [await blockedBy('coordinator'), await blockedBy('worker-2')]
    const ran = await scenario.run(...vouched(), '--force-after', '1ms')
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
    const ended = JSON.parse(ran.stdout).ended.map(({ pid }: { pid: number }) => pid)
    expect(ended).toEqual(expect.arrayContaining(pids))
  })

  it('that an old primary could not be fenced to the end', async () => {
    const hooks = {
      reached: async (point: string) => {
        if (point !== 'decided') return
        await on(
          'worker-1',
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'citus-ha'
             AND state = 'idle in transaction'`,
        )
      },
    }
    const ran = await scenario.runWith(hooks, ...vouched())
    expect(ran, ran.stderr).toMatchObject({ exitCode: 5 })
    const { outcome, epoch, unfenced } = JSON.parse(ran.stdout)
    expect({ outcome, epoch }).toEqual({ outcome: 'unproved', epoch: 1 })
    expect(unfenced.join('\n')).toContain(at('worker-1'))
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
  })

  it('that an old primary does not let itself be fenced', async () => {
    await on('worker-1', 'REVOKE EXECUTE ON FUNCTION citus_ha.lock_shards() FROM citus_ha')
    const ran = await scenario.run(...vouched())
    expect(ran, ran.stderr).toMatchObject({ exitCode: 5 })
    expect(JSON.parse(ran.stdout).unfenced.join('\n')).toMatch(
      new RegExp(`${at('worker-1')} takes writes and could not be fenced: permission denied`),
    )
  })

  it('what a signal leaves while a decision is in doubt', async () => {
    await server('worker-1').kill()
    const out: string[] = []
    const err: string[] = []
    const interrupt = new AbortController()
    const hooks = {
      reached: async (point: string) => {
        if (point === 'all-prepared') server('coordinator').freeze()
      },
    }
    const exitCode = await run(['reconcile', '--json', ...scenario.options, '--timeout', '60s'], {
      stdout: { write: (text) => out.push(text) },
      stderr: {
        write: (text) => {
          err.push(text)
          if (text.includes('trying again')) interrupt.abort()
        },
      },
      env: { PATH: process.env.PATH, HOME: '/nonexistent' },
      signal: interrupt.signal,
      hooks,
    })
    const told = [...err, ...out].join('')
    expect(interrupt.signal.aborted, told).toBe(true)
    expect(told).not.toContain('nothing was left unfinished')
    expect(exitCode, told).toBe(5)
    const report = JSON.parse(out.join(''))
    expect(report.outcome).toBe('unproved')
    const left = (await leftPrepared(scenario, [server('worker-1-standby'), server('worker-2')])).sort()
    expect(left).toHaveLength(2)
    for (const gid of left) expect(report.warnings.join('\n')).toContain(gid)
    server('coordinator').thaw()
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
  })
})
