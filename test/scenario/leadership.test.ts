import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Session } from '../../src/db/pg.ts'
import { resolveTarget } from '../../src/db/target.ts'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { type HostPort, parseAddress } from '../../src/model/node.ts'
import { Lead, type LeadOptions } from '../../src/watch/leadership.ts'
import { Valve } from '../support/proxy.ts'
import { client, Scenario } from '../support/scenario.ts'

const INTERVAL_MS = 600
const CHILD = fileURLToPath(new URL('../support/leader.mjs', import.meta.url))

type Kind = NonNullable<LeadOptions['kind']>

/** Calls `hold` as the loop does, until it is told to stop. */
class Holder {
  now: string | null = null
  readonly #stop = new AbortController()
  readonly #done: Promise<void>

  constructor(lead: Lead, at: HostPort) {
    this.#done = this.#run(lead, at)
  }

  async #run(lead: Lead, at: HostPort): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      this.now = await lead.hold(at)
      await delay(INTERVAL_MS / 2, undefined, { signal }).catch(() => undefined)
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#done
  }
}

describe('leading', () => {
  let scenario: Scenario
  let leads: Lead[] = []
  let ends: (() => Promise<void> | void)[] = []
  const server = (name: string): Server => scenario.cluster.server(name)
  const coordinator = (): HostPort => ({ host: server('coordinator').host, port: server('coordinator').port })
  const ask = (sql: string) => server('coordinator').query(sql, [], { database: scenario.cluster.database })
  const open = async (address: HostPort) => {
    const target = await resolveTarget(address, scenario.cluster.database, { user: 'citus_ha' }, {})
    return await Session.open({ ...target, connectTimeoutMs: 1000 })
  }

  function lead(kind?: Kind): Lead {
    const made = new Lead({ open, intervalMs: INTERVAL_MS, holder: 'the same name', ...(kind && { kind }) })
    leads.push(made)
    return made
  }

  function holder(of: Lead, at: HostPort): Holder {
    const made = new Holder(of, at)
    ends.push(() => made.stop())
    return made
  }

  async function leadsWithin(holder: Holder, ms: number): Promise<void> {
    await waitUntil('another leads', () => holder.now === 'leading', { limitMs: ms, everyMs: 5 })
  }

  beforeAll(async () => {
    scenario = await Scenario.start({ workers: [{}] })
  })
  beforeEach(async () => {
    await ask('DELETE FROM citus_ha.lease')
  })
  afterEach(async () => {
    for (const end of ends) await end()
    await Promise.all(leads.map((each) => each.release()))
    leads = []
    ends = []
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  describe.each<Kind>(['lock', 'lease'])('by a %s', (kind) => {
    it('one leads, the others follow, however often they ask', async () => {
      const all = [lead(kind), lead(kind), lead(kind)]
      const held = await Promise.all(all.map((each) => each.hold(coordinator())))
      expect([...held].sort()).toEqual(['following', 'following', 'leading'])
      for (const [n, each] of all.entries()) {
        expect(await each.hold(coordinator())).toBe(held[n])
        expect(await each.stillLeads()).toBe(held[n] === 'leading')
      }
    })

    it('is taken over at once when it is given up, and may be held again', async () => {
      const [first, second] = [lead(kind), lead(kind)]
      for (let times = 0; times < 3; times++) expect(await first.hold(coordinator())).toBe('leading')
      await first.release()
      expect(await first.stillLeads()).toBe(false)
      expect(await second.hold(coordinator())).toBe('leading')
      expect(await first.hold(coordinator())).toBe('following')
    })

    it('is kept for as long as it is renewed, and no longer', async () => {
      const [first, second] = [lead(kind), lead(kind)]
      const renewed = holder(first, coordinator())
      await leadsWithin(renewed, 3 * INTERVAL_MS)
      const until = performance.now() + 4 * INTERVAL_MS
      await waitUntil('a while is over', async () => {
        expect(await second.hold(coordinator())).toBe('following')
        return performance.now() > until
      })
      await renewed.stop()
      await leadsWithin(holder(second, coordinator()), 3 * INTERVAL_MS)
      expect(await first.stillLeads()).toBe(false)
    })

    it('is taken over when its process is stopped, which finds that out before anything else', async () => {
      const child = new Child(kind, { at: coordinator(), database: scenario.cluster.database })
      ends.push(() => child.end())
      await child.says({ now: 'leading' })
      const second = holder(lead(kind), coordinator())
      await waitUntil('the other one follows', () => second.now === 'following')
      child.signal('SIGSTOP')
      await leadsWithin(second, 3 * INTERVAL_MS)
      child.signal('SIGCONT')
      await child.says({ wokeLeading: false })
      expect(child.told).not.toContainEqual({ wokeLeading: true })
      await child.says({ now: 'following' })
      expect(second.now).toBe('leading')
    })

    it('is taken over when it is cut off, which it knows first', async () => {
      const valve = await Valve.open(server('coordinator'))
      ends.push(() => valve.close())
      const [first, second] = [lead(kind), lead(kind)]
      const cutOff = holder(first, addressOf(valve))
      await leadsWithin(cutOff, 3 * INTERVAL_MS)
      const other = holder(second, coordinator())
      await waitUntil('the other one follows', () => other.now === 'following')
      valve.cut()
      let overlapped = false
      await waitUntil(
        'the other one leads',
        () => {
          overlapped ||= other.now === 'leading' && cutOff.now === 'leading'
          return other.now === 'leading'
        },
        { limitMs: 3 * INTERVAL_MS, everyMs: 5 },
      )
      expect(overlapped).toBe(false)
      expect(await first.stillLeads()).toBe(false)
      valve.mend()
      await waitUntil('it follows', () => cutOff.now === 'following')
    })

    it('is lost with the server and found again, without an error', async () => {
      const only = lead(kind)
      expect(await only.hold(coordinator())).toBe('leading')
      ends.push(() => server('coordinator').start())
      await server('coordinator').kill()
      expect(await only.stillLeads()).toBe(false)
      expect(await only.hold(coordinator())).toBe('none')
      expect(only.why).toMatch(/ECONNREFUSED/)
      await server('coordinator').start()
      expect(await only.hold(coordinator())).toBe('leading')
      expect(only.why).toBeNull()
    })

    it('goes with the coordinator: what was held on another node is let go', async () => {
      const [first, second] = [lead(kind), lead(kind)]
      expect(await first.hold(coordinator())).toBe('leading')
      expect(await first.hold(server('worker-1'))).toBe('leading')
      await waitUntil('the first one is free', async () => {
        // It is kept meanwhile, as a loop does: whoever is silent for two intervals has lost it.
        expect(await first.hold(server('worker-1'))).toBe('leading')
        return (await second.hold(coordinator())) === 'leading'
      })
      expect(await first.stillLeads()).toBe(true)
    })

    it('is held on no standby', async () => {
      const only = lead(kind)
      expect(await only.hold(server('coordinator-standby'))).toBe('none')
      expect(only.why).toMatch(/is in recovery/)
    })
  })

  it('is by a lock where the server ends idle sessions, else by a lease', async () => {
    const only = lead()
    expect(await only.hold(coordinator())).toBe('leading')
    const [{ version } = { version: 0 }] = await server('coordinator').query<{ version: number }>(
      `SELECT current_setting('server_version_num')::int AS version`,
    )
    const locks = await ask(
      `SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = ${0x63697475} AND objid = ${0x6c656164}`,
    )
    const leases = await ask('SELECT FROM citus_ha.lease')
    expect([locks.length, leases.length]).toEqual(version >= 140_000 ? [1, 0] : [0, 1])
  })

  it('is told no by a server that ends the session in between', async () => {
    const only = lead('lock')
    expect(await only.hold(coordinator())).toBe('leading')
    await ask(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'citus_ha'`)
    expect(await only.stillLeads()).toBe(false)
  })

  it('believes no answer that lay there while its process was stopped', async () => {
    const only = lead('lease')
    expect(await only.hold(coordinator())).toBe('leading')
    const other = await client(server('coordinator'), scenario.cluster.database)
    ends.push(() => other.end())
    await other.query('BEGIN; SELECT FROM citus_ha.lease FOR UPDATE')
    const freed = other.query('SELECT pg_sleep(0.3); COMMIT')
    const held = only.hold(coordinator())
    // From a timer: what the sockets have comes next, before the timer of the limit.
    await delay(50)
    block(2 * INTERVAL_MS)
    expect(await held).toBe('none')
    await freed
  })

  it('goes to one of many, of a lease that ran out, for a role whose transactions are repeatable read', async () => {
    await ask(`ALTER ROLE citus_ha SET default_transaction_isolation = 'repeatable read'`)
    ends.push(async () => void (await ask('ALTER ROLE citus_ha RESET default_transaction_isolation')))
    for (let round = 0; round < 10; round++) {
      await ask(
        `DELETE FROM citus_ha.lease; INSERT INTO citus_ha.lease (holder, expires_at) VALUES ('gone', now())`,
      )
      const racers = Array.from({ length: 8 }, () => lead('lease'))
      const held = await Promise.all(racers.map((racer) => racer.hold(coordinator())))
      expect(held.filter((each) => each === 'leading')).toHaveLength(1)
      expect(held.filter((each) => each === 'following')).toHaveLength(7)
      await Promise.all(racers.map((racer) => racer.release()))
    }
  })

  it('does not wait for a synchronous standby that is gone', async () => {
    await server('coordinator').configure({ synchronous_standby_names: 'gone', synchronous_commit: 'on' })
    ends.push(() => server('coordinator').configure({ synchronous_standby_names: '' }))
    const only = lead('lease')
    expect(await only.hold(coordinator())).toBe('leading')
    await only.release()
    expect(await lead('lease').hold(coordinator())).toBe('leading')
  })
})

function addressOf({ address }: Valve): HostPort {
  const parsed = parseAddress(address)
  if (!parsed) throw new Error(`${address} is no address`)
  return parsed
}

/** Nothing in this process goes on meanwhile. */
function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

/** An instance in a process of its own. */
class Child {
  readonly told: unknown[] = []
  readonly #process: ChildProcess

  constructor(kind: Kind, where: { readonly at: HostPort; readonly database: string }) {
    const given = JSON.stringify({ ...where, intervalMs: INTERVAL_MS, kind })
    this.#process = spawn(process.execPath, [CHILD, given], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#process.on('message', (message) => this.told.push(message))
  }

  async says(what: object): Promise<void> {
    const text = JSON.stringify(what)
    await waitUntil(`the child says ${text}`, () => this.told.some((each) => JSON.stringify(each) === text))
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }

  async end(): Promise<void> {
    this.#process.kill('SIGKILL')
    await waitUntil(
      'the end of the child',
      () => this.#process.exitCode !== null || this.#process.signalCode !== null,
    )
  }
}
