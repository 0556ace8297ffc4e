import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { timed } from '../support/clients.ts'
import { expectRight, truthOf } from '../support/crash.ts'
import { citusHa, type Ran, Scenario } from '../support/scenario.ts'
import { CAPTURED } from '../support/tools/captured.ts'

const PROMOTES = ['on_role_change', 'master', 'w1']
/** What a busy machine adds is not the program’s. */
const BUSY_MS = 3000

describe('citus-ha event', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(() => {
    for (const each of scenario.cluster.servers) each.thaw()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** An event of one tool, with a busy machine's time; what stands before `--` are options of citus-ha. */
  const event = (tool: string, options: readonly string[], ...words: string[]): Promise<Ran> =>
    citusHa(['event', tool, ...scenario.options, '--timeout', '30s', ...options, ...words])
  const standby = () => ['--node', at('worker-1-standby')]
  const right = () =>
    expectRight(
      scenario,
      ['coordinator', 'worker-1-standby', 'worker-2'].map(server),
      truthOf(scenario, 'coordinator'),
    )

  it.each<[string, () => readonly string[]]>([
    ['event promoted', () => ['event', 'promoted', ...scenario.options, at('worker-1-standby')]],
    ['reconcile --group', () => ['reconcile', ...scenario.options, '--group', '1']],
    [
      'reconcile --promoted',
      () => ['reconcile', ...scenario.options, '--group', '1', '--promoted', at('worker-1-standby')],
    ],
    [
      'a dry run',
      () => ['reconcile', ...scenario.options, '--dry-run', '--promoted', at('worker-1-standby')],
    ],
  ])('%s is refused, and says so, where the coordinator itself is in doubt', async (_, command) => {
    const { coordinator, database } = scenario.cluster
    // The group of the coordinator was on a newer timeline before: it may be an old one that has come back.
    const newer = 'UPDATE citus_ha.lineage SET timeline = 7 WHERE groupid = 0'
    await coordinator.query(newer, [], { database })
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const ran = await citusHa(command())
    expect(ran, ran.stdout + ran.stderr).toMatchObject({ exitCode: 3 })
    expect(ran.stdout).toMatch(/group 0/)
    expect(ran.stdout).not.toMatch(/converged/)
    expect(await scenario.rows(coordinator)).toContain(`2 group 1 primary ${at('worker-1')}`)
  })

  it.each([
    ['patroni', () => [...standby()], () => PROMOTES],
    ['repmgr', () => [...standby()], () => ['2', 'standby_promote', '1', 'now', 'promoted']],
    [
      'pgpool',
      () => [],
      () => {
        const { host, port } = server('worker-1-standby')
        const old = server('worker-1')
        return [
          ...['failover', '0', old.host, String(old.port), '', '1', host, '0', '0', String(port)],
          ...['', old.host, String(old.port)],
        ]
      },
    ],
    ['promoted', () => [], () => [at('worker-1-standby')]],
  ])(
    '%s: the tool’s word suffices, also beside an old primary that lives, and twice',
    async (tool, options, words) => {
      await server('worker-1-standby').promote()
      expect(await event(tool, options(), ...words())).toMatchObject({ exitCode: 0 })
      await right()
      const footprint = await scenario.footprint()
      expect(await event(tool, options(), ...words())).toMatchObject({ exitCode: 0 })
      expect(await scenario.footprint()).toEqual(footprint)
      const [last] = await server('coordinator').query(
        'SELECT made_by FROM citus_ha.change ORDER BY epoch DESC',
        [],
        {
          database: scenario.cluster.database,
        },
      )
      expect(last).toMatchObject({ made_by: expect.stringContaining(`event ${tool} (`) })
    },
  )

  it('waits for a promotion that is still running', async () => {
    await server('worker-1').kill()
    const answer = event('patroni', standby(), ...PROMOTES)
    // It has looked, and waits: a session of it is open there.
    await waitUntil('it looks', async () => {
      const sql = `SELECT FROM pg_stat_activity WHERE application_name = 'citus-ha'`
      return (await server('worker-1-standby').query(sql)).length > 0
    })
    await server('worker-1-standby').promote()
    expect(await answer).toMatchObject({ exitCode: 0 })
    await right()
  })

  it('waits for the coordinator’s own promotion', async () => {
    await server('coordinator').kill()
    const answer = event('patroni', ['--node', at('coordinator-standby')], ...PROMOTES)
    await waitUntil('it looks', async () => {
      const sql = `SELECT FROM pg_stat_activity WHERE application_name = 'citus-ha'`
      return (await server('coordinator-standby').query(sql)).length > 0
    })
    await server('coordinator-standby').promote()
    const ran = await answer
    expect(ran, ran.stderr).toMatchObject({ exitCode: 0 })
    for (const copy of ['coordinator-standby', 'worker-1', 'worker-2'])
      expect(await scenario.rows(server(copy)), copy).toContain(
        `1 group 0 primary ${at('coordinator-standby')}`,
      )
  })

  it('refuses a node that stays in recovery, in the time it has', async () => {
    await server('worker-1').kill()
    const before = await scenario.footprint()
    const { value, ms } = await timed(() => event('patroni', [...standby(), '--timeout', '4s'], ...PROMOTES))
    expect(value).toMatchObject({ exitCode: 3 })
    expect(value.stdout).toContain('promotion-running (D022)')
    expect(ms).toBeLessThan(4000 + BUSY_MS)
    expect(await scenario.footprint()).toEqual(before)
  })

  it('refuses a server of another system, and a group it is not of', async () => {
    const before = await scenario.footprint()
    const elsewhere = ['--node', at('worker-2'), '--group', '1']
    const ran = await event('patroni', elsewhere, ...PROMOTES)
    expect(ran).toMatchObject({ exitCode: 3, stdout: expect.stringContaining('lineage-mismatch (D021)') })
    expect(await scenario.footprint()).toEqual(before)
  })

  it('does not go back: a late word for the old primary, which came back and takes writes', async () => {
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    expect(await event('patroni', standby(), ...PROMOTES)).toMatchObject({ exitCode: 0 })
    await server('worker-1').start()
    const footprint = await scenario.footprint()
    const ran = await event('patroni', ['--node', at('worker-1')], ...PROMOTES)
    expect(ran).toMatchObject({ exitCode: 3, stdout: expect.stringContaining('lineage-mismatch (D023)') })
    expect(await scenario.footprint()).toEqual(footprint)
    // A person may insist.
    const [report] = [await scenario.reconcile('--promoted', at('worker-1'))]
    expect(report).toMatchObject({ outcome: 'changed' })
  })

  it.each(
    fc.sample(fc.shuffledSubarray([...CAPTURED], { minLength: CAPTURED.length }), { seed: 6, numRuns: 2 }),
  )(
    'what the real tools said, shuffled: one change, to the newest primary, whatever comes late (%#)',
    { timeout: 120_000 },
    async (...captured) => {
      const a = server('worker-1')
      const b = server('worker-1-standby')
      await a.kill()
      await b.promote()
      // It has come back, takes writes, and is named as promoted by what was said of an earlier time.
      await a.start()
      const place = (word: string) =>
        ({ 'A.host': a.host, 'A.port': String(a.port), 'B.host': b.host, 'B.port': String(b.port) })[word] ??
        word
      const ends = new Set<string>()
      for (const { tool, node, words } of captured) {
        const options = node === null ? [] : ['--node', at(node === 'A' ? a.name : b.name)]
        const { exitCode, stdout } = await event(tool, options, ...words.map(place))
        const rule = /\((D\d+)\)/.exec(stdout)?.[1]
        ends.add(
          `${exitCode} ${rule ?? stdout.split('\n')[0]?.replace(/: Patroni.*|: repmgr.*|: Pgpool.*/, '')}`,
        )
      }
      expect([...ends].sort()).toEqual([
        '0 app: changed: committed, and every copy was verified (epoch 1)',
        '0 app: converged: every copy is up to date, nothing had to change',
        '0 nothing to do',
        '3 D023',
      ])
      await right()
    },
  )

  it('is about its group alone', async () => {
    await server('worker-2-standby').promote()
    await server('worker-1-standby').promote()
    const ran = await event('promoted', [], at('worker-1-standby'))
    expect(ran, ran.stdout + ran.stderr).toMatchObject({ exitCode: 0 })
    expect(await scenario.reconcile()).toMatchObject({
      refusals: expect.arrayContaining([expect.objectContaining({ group: 2, reason: 'split-brain' })]),
    })
  })

  it('answers within its time where nobody does', async () => {
    for (const each of scenario.cluster.servers) each.freeze()
    const { value, ms } = await timed(() => event('patroni', [...standby(), '--timeout', '3s'], ...PROMOTES))
    expect(value).toMatchObject({ exitCode: 4 })
    expect(ms).toBeLessThan(3000 + BUSY_MS)
  })

  it('knows nodes by the tool’s own names', async () => {
    await server('worker-1-standby').promote()
    const file = await scenario.configFile({
      coordinators: [{ url: server('coordinator').url(scenario.cluster.database, 'citus_ha') }],
      integrations: { nodes: { '2': at('worker-1-standby') } },
    })
    const words = ['2', 'repmgrd_failover_promote', '1', 'now', 'node 2 promoted']
    expect(await citusHa(['event', 'repmgr', '--config', file, ...words])).toMatchObject({ exitCode: 0 })
    await right()
  })

  it('reads more than one database', async () => {
    await server('worker-1-standby').promote()
    const ran = await event('promoted', ['--json'], at('worker-1-standby'))
    expect(JSON.parse(ran.stdout)).toMatchObject({ outcome: 'changed', databases: [{ database: 'app' }] })
  })
})

describe('an event that concerns no primary', () => {
  it.each([
    ['patroni', ['on_role_change', 'replica', 'w1']],
    ['patroni', ['on_reload', 'master', 'w1']],
    ['repmgr', ['1', 'repmgrd_start', '1', 'now', 'monitoring']],
    ['pgpool', 'failover 2 w1c 5432 /data 1 w1b 0 1 5432 /data w1b 5432'.split(' ')],
    ['pgpool', ['failover', '0', 'w1a', '5432', '/data', '-1', '', '-1', '0', '', '', 'w1a', '5432']],
  ])('%s %s: at once, without any configuration', async (tool, words) => {
    const { value, ms } = await timed(() => citusHa(['event', tool, ...words]))
    expect(value).toMatchObject({
      exitCode: 0,
      stderr: '',
      stdout: expect.stringMatching(/^nothing to do: /),
    })
    expect(ms).toBeLessThan(BUSY_MS)
  })

  it('says so as JSON, and is no excuse for arguments that are none of the tool’s', async () => {
    const ran = await citusHa(['event', 'patroni', '--json', 'on_stop', 'master', 'w1'])
    expect(JSON.parse(ran.stdout)).toMatchObject({ outcome: 'unconcerned', exitCode: 0 })
    expect(await citusHa(['event', 'patroni', 'on_stop'])).toMatchObject({
      exitCode: 2,
      stderr:
        'citus-ha: patroni: expected ACTION ROLE SCOPE, as Patroni appends them, got 1 argument: "on_stop"\n',
    })
  })
})
