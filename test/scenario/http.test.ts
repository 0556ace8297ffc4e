import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requestOf } from '../../src/cli/cluster.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import type { Listener } from '../../src/http/listener.ts'
import { Metrics } from '../../src/http/metrics.ts'
import { serve } from '../../src/http/serve.ts'
import { formatAddress } from '../../src/model/node.ts'
import { Clock } from '../../src/walk/clock.ts'
import { Connections } from '../../src/walk/connections.ts'
import { observe, view } from '../../src/walk/look.ts'
import { summarize } from '../../src/watch/health.ts'
import { openWatchLog } from '../../src/watch/log.ts'
import { readExposition, samplesOf } from '../support/exposition.ts'
import { Scenario } from '../support/scenario.ts'
import { stateOf } from '../support/watch-state.ts'
import { Watching } from '../support/watching.ts'

describe('what a watcher answers over HTTP of a real cluster', () => {
  let scenario: Scenario
  let access: Connections
  let listener: Listener
  let seen = stateOf({ view: null })
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  /** What a turn of the watcher does, as the role without rights. */
  async function look(): Promise<void> {
    const { coordinator, database } = scenario.cluster
    const env = { PATH: process.env.PATH, HOME: '/nonexistent' }
    const config = await loadConfig({ env, coordinators: [coordinator.url(database, 'citus_ha')] })
    access ??= new Connections(config, env)
    const silent = { write: () => undefined }
    const io = { stdout: silent, stderr: silent, env, signal: new AbortController().signal }
    const request = requestOf({ config, access, database }, io)
    seen = stateOf({ database, view: view(await observe(access, request, new Clock()), access, request) })
  }

  async function get(path: string): Promise<string> {
    const url = `http://${formatAddress(listener.address)}${path}`
    const answer = await fetch(url, { signal: AbortSignal.timeout(10_000) })
    expect(answer.status).toBe(200)
    return await answer.text()
  }

  /** By the node's name in the cluster; a role, where the family has one. */
  async function family(name: string): Promise<Record<string, number>> {
    const samples = readExposition(await get('/metrics')).get(`citus_ha_${name}`)?.samples ?? new Map()
    const names = new Map(scenario.cluster.servers.map((each) => [formatAddress(each), each.name]))
    return Object.fromEntries(
      [...samples].map(([key, value]) => [names.get(/node="([^"]*)"/.exec(key)?.[1] ?? '') ?? key, value]),
    )
  }

  beforeAll(async () => {
    scenario = await Scenario.start({ coordinatorStandbys: [{ kind: 'standby' }, { kind: 'expand' }] })
    const states = () => [seen]
    const metrics = await Metrics.open({ states, version: '0' })
    const problem = (line: string) => expect.fail(line)
    listener = await serve({ listen: { host: '127.0.0.1', port: 0 }, states, metrics, problem })
    await look()
  })
  afterAll(async () => {
    await listener?.close()
    await access?.close()
    await scenario?.stop()
  })

  it('/status is what the command prints', async () => {
    const ran = await scenario.run('status', '--json')
    const still = (text: string): unknown =>
      JSON.parse(text, (key, value: unknown) =>
        ['at', 'lagBytes', 'routes'].includes(key) ? undefined : value,
      )
    const { failures, ...document } = still(await get('/status')) as Record<string, unknown>
    expect(failures).toEqual([])
    const named = still(ran.stdout) as Record<string, unknown>
    // Named on the command line, the other coordinators were asked there, and have routes; here the catalog is all there was.
    const { others: _, databases: __, activity, ...rest } = named
    expect(document).toMatchObject({ ...rest, activity: null })
    expect(activity).toEqual({ watchers: [], leader: null, changes: [], fences: [], otherWriters: [] })
  })

  it('/metrics tells the age of what an interrupted change left prepared', async () => {
    const worker = server('worker-2')
    const { database } = scenario.cluster
    expect(await family('prepared_transactions')).toMatchObject({ coordinator: 0, 'worker-2': 0 })
    expect(await family('prepared_transactions_oldest_age_seconds')).toMatchObject({ 'worker-2': 0 })
    await worker.query(`BEGIN; SELECT 1; PREPARE TRANSACTION 'citus_ha_c_app_1_1_00000000_1'`, [], {
      database,
    })
    try {
      await waitUntil('it is older than a tenth of a second', async () => {
        await look()
        const ages = await family('prepared_transactions_oldest_age_seconds')
        return (ages['worker-2'] ?? 0) > 0.1 && (ages['worker-2'] ?? 0) < 60
      })
      expect(await family('prepared_transactions')).toMatchObject({ coordinator: 0, 'worker-2': 1 })
    } finally {
      await worker.query(`ROLLBACK PREPARED 'citus_ha_c_app_1_1_00000000_1'`, [], { database })
    }
    await look()
    expect(await family('prepared_transactions_oldest_age_seconds')).toMatchObject({ 'worker-2': 0 })
  })

  it('/metrics names the copy that differs, and nodes as they are after a promotion', async () => {
    expect(new Set(Object.values(await family('copy_differs')))).toEqual(new Set([0]))
    const { database } = scenario.cluster
    const swap = `UPDATE pg_dist_node SET noderack = 'elsewhere' WHERE nodeid = 2`
    await server('worker-2').query(swap, [], { database })
    await look()
    expect(await family('copy_differs')).toMatchObject({ 'worker-1': 0, 'worker-2': 1 })
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed' })

    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    await scenario.reconcile()
    await look()
    expect(await family('copy_differs')).toMatchObject({ 'worker-1-standby': 0, 'worker-2': 0 })
    expect(await family('node_up')).toMatchObject({ 'worker-1': 0, 'worker-1-standby': 1 })
    expect(await family('node_timeline')).toMatchObject({ 'worker-1-standby': 2, 'worker-2': 1 })
    const roles = await get('/metrics')
    expect(roles).toMatch(
      new RegExp(`citus_ha_node_role\\{.*node="${at('worker-1-standby')}",role="primary"\\} 1`),
    )
  })
  it('a watcher that saw a promotion tells it in numbers and in lines', async () => {
    const watching = await Watching.start(scenario)
    try {
      await server('worker-2').kill()
      await server('worker-2-standby').promote()
      await watching.changed(1)
      const { states } = watching.service
      const metrics = await Metrics.open({ states: () => states, version: '0' })
      const lines: string[] = []
      const log = await openWatchLog({ level: 'info', write: (line) => lines.push(line) })
      for (const event of [...watching.events]) {
        metrics.told(event)
        log.told(event)
      }
      const { database } = scenario.cluster
      const samples = samplesOf(await metrics.text())
      const stage = (name: string) =>
        `citus_ha_promotion_stage_seconds_count{database="${database}",stage="${name}"}`
      expect(samples).toMatchObject({
        [`citus_ha_changes_total{database="${database}",outcome="changed"}`]: 1,
        [`citus_ha_leading{database="${database}"}`]: 1,
        [`citus_ha_ready{database="${database}"}`]: 1,
        [stage('noticed')]: 1,
        [stage('decided')]: 1,
        [stage('right')]: 1,
      })
      expect(samples[`citus_ha_surveys_total{database="${database}"}`]).toBeGreaterThanOrEqual(2)
      const told = lines.map((line) => JSON.parse(line))
      const moved = { event: 'row', group: 2, change: 'primary-moved', to: at('worker-2-standby') }
      expect(told).toContainEqual(expect.objectContaining(moved))
      const done = { event: 'acted', groups: [2], outcome: 'changed', level: 30 }
      expect(told).toContainEqual(expect.objectContaining(done))
      expect(summarize(states)).toMatch(/leading 1 database/)
    } finally {
      await watching.stop()
    }
  })
})
