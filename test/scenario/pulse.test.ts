import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { type HostPort, parseAddress } from '../../src/model/node.ts'
import { Connections } from '../../src/walk/connections.ts'
import { Pulse, type PulseSession } from '../../src/watch/pulse.ts'
import { CutProxy } from '../support/proxy.ts'
import { Scenario } from '../support/scenario.ts'

const INTERVAL_MS = 400

describe('a pulse', () => {
  let scenario: Scenario
  let access: Connections

  beforeAll(async () => {
    scenario = await Scenario.start({ coordinatorStandbys: [], workers: [{}] })
    const coordinators = scenario.options.filter((option) => option.startsWith('postgres'))
    access = new Connections(await loadConfig({ env: {}, coordinators }), {})
  })
  afterAll(async () => {
    await access?.close()
    await scenario?.stop()
  })

  /** The times at which a pulse opens its first five sessions, in milliseconds, and what it tells meanwhile. */
  async function fiveTries(at: HostPort, open: (address: HostPort) => Promise<PulseSession>) {
    const opened: number[] = []
    const told: string[] = []
    const pulse = new Pulse(at, {
      database: scenario.cluster.database,
      intervalMs: INTERVAL_MS,
      timeoutMs: 1000,
      open: async (address) => {
        opened.push(performance.now())
        return await open(address)
      },
      notice: ({ what }) => told.push(what),
    })
    try {
      await waitUntil('five tries', () => opened.length >= 5)
    } finally {
      await pulse.stop()
    }
    const apart = opened.slice(1, 5).map((time, n) => time - (opened[n] ?? 0))
    return { apart, told }
  }

  const once = [1, 2, 3, 4].map(() => expect.toSatisfy((ms: number) => ms >= INTERVAL_MS - 1))

  it('comes back once an interval and no sooner to a server that ends every session', async () => {
    const { coordinator, database } = scenario.cluster
    const { apart, told } = await fiveTries(coordinator, async (address) => {
      const session = await access.open(address, database)
      await coordinator.query('SELECT pg_terminate_backend($1)', [session.pid])
      return session
    })
    expect(apart).toEqual(once)
    expect(told).toEqual(['lost'])
  })

  it('nor to one whose connections break while a statement is under way', async () => {
    const { coordinator, database } = scenario.cluster
    const proxy = await CutProxy.to(coordinator, /recovery/, 'request lost', Number.POSITIVE_INFINITY)
    try {
      const at = parseAddress(proxy.address)
      if (!at) throw new Error(`no address: ${proxy.address}`)
      const { apart, told } = await fiveTries(at, (address) => access.open(address, database))
      expect(proxy.cuts).toBeGreaterThanOrEqual(4)
      expect(apart).toEqual(once)
      expect(told).toEqual(['lost'])
    } finally {
      await proxy.close()
    }
  })
})
