import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { oldKeyOf, openTransaction, standin } from '../support/clients.ts'
import { expectRight, truthOf } from '../support/crash.ts'
import { Valve } from '../support/proxy.ts'
import { Scenario } from '../support/scenario.ts'
import { logOf, Watching } from '../support/watching.ts'

describe('a watcher in a world that changes', () => {
  let scenario: Scenario
  let ends: (() => Promise<unknown>)[] = []
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const watch = async (file: object = {}): Promise<Watching> => {
    const watching = await Watching.start(scenario, file)
    ends.push(() => watching.stop())
    return watching
  }

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    for (const end of ends.reverse()) await end()
    ends = []
    vi.unstubAllEnvs()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  async function failOver(worker: string): Promise<void> {
    await server(worker).kill()
    await server(`${worker}-standby`).promote()
  }

  describe('names', () => {
    const NAMED = ['coordinator', 'worker-2']

    /** From which ports sessions of ours come, on one server. */
    async function sources(name: string): Promise<number[]> {
      const sql = `SELECT client_port AS port FROM pg_stat_activity WHERE application_name LIKE 'citus-ha%'`
      return (await server(name).query<{ port: number }>(sql)).map(({ port }) => port)
    }

    it('are resolved anew at each connection: pulses, probes, the lead and changes go to the new address', async () => {
      const { directory } = scenario.cluster
      const names = NAMED.map((name) => `${name}.test`)
      await resolveBy(directory, names, '127.0.0.1')
      const rules = NAMED.map((name) => [at(name), { connect: `${name}.test:${server(name).port}` }])
      const seen = await watch({ addresses: Object.fromEntries(rules) })
      const moved = new Map<string, Valve>()
      for (const name of NAMED) {
        const valve = await Valve.open(server(name), { host: '127.0.0.2', port: server(name).port })
        ends.push(() => valve.close())
        moved.set(name, valve)
      }
      await resolveBy(directory, names, '127.0.0.2')
      for (const name of NAMED)
        await server(name).query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'citus_ha'`,
        )
      for (const [name, valve] of moved) {
        // On each a pulse, a probe and a spare session; and the lead's on the coordinator.
        await waitUntil(`the sessions on ${name}`, async () => {
          const ports = await sources(name)
          return (
            ports.length >= (name === 'coordinator' ? 4 : 3) && ports.every((port) => valve.ports.has(port))
          )
        })
      }
      await seen.settled()
      await failOver('worker-1')
      await seen.changed(1)
      await expectRight(
        scenario,
        ['coordinator', 'worker-1-standby', 'worker-2'].map(server),
        truthOf(scenario, 'coordinator'),
      )
      for (const [name, valve] of moved)
        for (const port of await sources(name)) expect(valve.ports, name).toContain(port)
    })
  })

  describe('coordinators', () => {
    it('follows the promoted one beside the old one, never goes back, and refuses the old one alone, retired or put back', async () => {
      const seen = await watch()
      const lead = () => seen.state.coordinator?.port
      await server('coordinator-standby').promote()
      await waitUntil('the promoted one is followed', () => lead() === server('coordinator-standby').port)
      const copies = ['coordinator-standby', 'worker-1', 'worker-2'].map(server)
      const [row] = truthOf(scenario, 'coordinator-standby')
      await waitUntil('the change', async () => {
        const rows = await Promise.all(copies.map((copy) => scenario.rows(copy)))
        return rows.every(([first]) => first === row)
      })
      expect(await server('coordinator').isInRecovery()).toBe(false)
      await seen.surveys(3)
      await server('coordinator').restart()
      await seen.surveys(3)
      expect(lead()).toBe(server('coordinator-standby').port)
      expect(seen.of('coordinator').map(({ node }) => node?.port)).toEqual([
        server('coordinator').port,
        server('coordinator-standby').port,
      ])

      await server('coordinator-standby').kill()
      const failed = (text: string) => seen.of('failed').find(({ message }) => message.includes(text))
      const none = await waitUntil('nobody is left', () =>
        failed(`no writable coordinator answers: ${at('coordinator')}: retired, timeline 1`),
      )
      const [, putBack = ''] = / in each database: (.*)$/.exec(none.message) ?? []
      await server('coordinator').query(putBack, [], { database: scenario.cluster.database })
      const refused = await waitUntil('the old one is refused', () =>
        failed('it is an old coordinator or a backup'),
      )
      expect(refused.message).toBe(
        `${at('coordinator')} takes writes, but it is neither the last known coordinator nor one promoted from it: it is on timeline 1, the group was already on 2: it is an old coordinator or a backup; stop it, or, if it is the right one, restart this watch`,
      )
      expect(seen.state).toMatchObject({ coordinator: null, failure: refused.message })
      await waitUntil('nobody leads', () => seen.state.leadership === 'none')
      const { length } = seen.changes
      await failOver('worker-1')
      await waitUntil('it is noticed', () => seen.of('noticed').some(({ what }) => what === 'promoted'))
      await server('coordinator-standby').start()
      await waitUntil('it leads again', () => seen.state.leadership === 'leading')
      expect(lead()).toBe(server('coordinator-standby').port)
      await seen.changed(length + 1)
      const after = ['coordinator-standby', 'worker-1-standby', 'worker-2'].map(server)
      await expectRight(scenario, after, truthOf(scenario, 'coordinator-standby'))
    })
  })

  it('follows twenty promotions in a row between two nodes', async () => {
    const before = await scenario.rows(server('coordinator'))
    const seen = await watch()
    let [primary, standby] = [server('worker-1'), server('worker-1-standby')]
    for (let n = 1; n <= 20; n++) {
      await primary.kill()
      await standby.promote()
      await seen.changed(n)
      await scenario.cluster.rejoin(primary, standby)
      await scenario.streams(primary)
      ;[primary, standby] = [standby, primary]
    }
    expect(seen.changes.map(({ outcome, epoch }) => [outcome, epoch])).toEqual(
      Array.from({ length: 20 }, (_, n) => ['changed', n + 1]),
    )
    await expectRight(scenario, ['coordinator', 'worker-1', 'worker-2'].map(server), orLent(before))
  }, 240_000)

  // The cooldown is longer than the test waits for anything: with it applied, the second change would never come.
  it.each([
    ['a worker', 'worker-1'],
    ['the coordinator', 'coordinator'],
  ])('follows a failover of %s and the next one of it as fast, whatever the cooldown', async (_, name) => {
    const before = await scenario.rows(server('coordinator'))
    const detect = { interval: '300ms', timeout: '600ms', cooldown: '10m', witnessFreshness: '700ms' }
    const seen = await watch({ detect })
    let [primary, standby] = [server(name), server(`${name}-standby`)]
    for (let n = 1; n <= 2; n++) {
      await primary.kill()
      await standby.promote()
      await seen.changed(n)
      await scenario.cluster.rejoin(primary, standby)
      await scenario.streams(primary)
      ;[primary, standby] = [standby, primary]
    }
    expect(seen.changes.map(({ outcome }) => outcome)).toEqual(['changed', 'changed'])
    await expectRight(scenario, ['coordinator', 'worker-1', 'worker-2'].map(server), orLent(before))
  })

  it.skipIf(standin)(
    'a group that stays blocked: growing pauses, one loud line, others get through',
    async () => {
      const seen = await watch()
      const { database } = scenario.cluster
      const key = await oldKeyOf(scenario.cluster, 1)
      const sql = `UPDATE items SET note = 'blocked' WHERE id = ${key}`
      const idle = await openTransaction(server('coordinator'), database, sql)
      ends.push(() => idle.end())
      const from = performance.now()
      const tries = () =>
        seen.of('acted').filter(({ groups, failures }) => groups.includes(1) && failures > 0)
      await failOver('worker-1')
      await waitUntil('two tries', () => tries().length >= 2)

      const meanwhile = performance.now()
      await failOver('worker-2')
      await seen.changed(1)
      expect(seen.changes[0]?.changes.map(({ group }) => group)).toContain(2)
      expect(performance.now() - meanwhile).toBeLessThan(8000)

      await waitUntil('20 s', () => performance.now() - from > 20_000)
      expect(tries().length).toBeLessThanOrEqual(7)
      expect(seen.state.groups.find(({ group }) => group === 1)?.failures).toBe(tries().length)
      expect(seen.changes.flatMap(({ changes }) => changes.map(({ group }) => group))).not.toContain(1)
      const loud = (await logOf(seen)).filter(({ level }) => level >= 50)
      expect(loud.map(({ event, outcome }) => [event, outcome])).toEqual([['acted', 'blocked']])
      expect(JSON.stringify(loud[0])).toContain('the-idle-one')

      await idle.query('ROLLBACK')
      await seen.changed(2)
      expect(seen.changes[1]?.changes[0]).toMatchObject({ group: 1, to: at('worker-1-standby') })
      const copies = ['coordinator', 'worker-1-standby', 'worker-2-standby'].map(server)
      const truth = await scenario.rows(server('coordinator'))
      expect(truth.slice(0, 3)).toEqual([
        `1 group 0 primary ${at('coordinator')}`,
        `2 group 1 primary ${at('worker-1-standby')}`,
        `3 group 2 primary ${at('worker-2-standby')}`,
      ])
      await expectRight(scenario, copies, truth)
    },
  )
})

/** For the process that looks names up: what it finds is read from a file, anew each time. */
const RESOLVER = `
const dns = require('node:dns')
const { readFileSync } = require('node:fs')
const real = dns.lookup
dns.lookup = (name, options, told) => {
  const address = JSON.parse(readFileSync(process.env.CITUS_HA_TEST_HOSTS, 'utf8'))[name]
  if (address === undefined) real(name, options, told)
  else process.nextTick(told, null, [{ address, family: 4 }])
}`

/** Has these names found at this address, as a name server would tell it, until told otherwise. */
async function resolveBy(directory: string, names: readonly string[], address: string): Promise<void> {
  const [script, hosts] = [join(directory, 'resolver.cjs'), join(directory, 'hosts.json')]
  await writeFile(script, RESOLVER)
  await writeFile(`${hosts}.new`, JSON.stringify(Object.fromEntries(names.map((name) => [name, address]))))
  await rename(`${hosts}.new`, hosts)
  vi.stubEnv('NODE_OPTIONS', `--require ${script}`)
  vi.stubEnv('CITUS_HA_TEST_HOSTS', hosts)
}

/** A standby that follows again is given its reads back when the cooldown is over; until then the primary has them. */
function orLent(rows: readonly string[]): string[] {
  return rows.map((row) =>
    row.startsWith('4 group 1 secondary')
      ? expect.stringMatching(new RegExp(`^(${row}|4 group 1 secondary ::ffff:.*)$`))
      : row,
  )
}
