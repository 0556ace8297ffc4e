import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Session } from '../../src/db/pg.ts'
import { resolveTarget } from '../../src/db/target.ts'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { type HostPort, parseAddress } from '../../src/model/node.ts'
import { Lead } from '../../src/watch/leadership.ts'
import { Valve } from '../support/proxy.ts'
import { Scenario } from '../support/scenario.ts'

const INTERVAL_MS = 600
const CHILD = fileURLToPath(new URL('../support/leader.mjs', import.meta.url))

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

  function lead(): Lead {
    const made = new Lead({ open, intervalMs: INTERVAL_MS })
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
  afterEach(async () => {
    for (const end of ends) await end()
    await Promise.all(leads.map((each) => each.release()))
    leads = []
    ends = []
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  describe('an instance', () => {
    it('one leads, the others follow, however often they ask', async () => {
      const all = [lead(), lead(), lead()]
      const held = await Promise.all(all.map((each) => each.hold(coordinator())))
      expect([...held].sort()).toEqual(['following', 'following', 'leading'])
      for (const [n, each] of all.entries()) {
        expect(await each.hold(coordinator())).toBe(held[n])
        expect(await each.stillLeads()).toBe(held[n] === 'leading')
      }
    })

    it('is taken over at once when it is given up, and may be held again', async () => {
      const [first, second] = [lead(), lead()]
      for (let times = 0; times < 3; times++) expect(await first.hold(coordinator())).toBe('leading')
      await first.release()
      expect(await first.stillLeads()).toBe(false)
      expect(await second.hold(coordinator())).toBe('leading')
      expect(await first.hold(coordinator())).toBe('following')
    })

    it('is kept for as long as it is renewed, and no longer', async () => {
      const [first, second] = [lead(), lead()]
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
      const child = new Child({ at: coordinator(), database: scenario.cluster.database })
      ends.push(() => child.end())
      await child.says({ now: 'leading' })
      const second = holder(lead(), coordinator())
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
      const [first, second] = [lead(), lead()]
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
      const only = lead()
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
      const [first, second] = [lead(), lead()]
      expect(await first.hold(coordinator())).toBe('leading')
      expect(await first.hold(server('worker-1'))).toBe('leading')
      await waitUntil('the first one is free', async () => {
        // It is kept meanwhile, as a loop does: whoever is silent for two intervals has lost it.
        expect(await first.hold(server('worker-1'))).toBe('leading')
        return (await second.hold(coordinator())) === 'leading'
      })
      expect(await first.stillLeads()).toBe(true)
    })

    it('is held where transactions are read-only by default', async () => {
      await server('coordinator').query('ALTER ROLE citus_ha SET default_transaction_read_only = on')
      try {
        expect(await lead().hold(coordinator())).toBe('leading')
      } finally {
        await server('coordinator').query('ALTER ROLE citus_ha RESET default_transaction_read_only')
      }
    })

    it('is held on no standby', async () => {
      const only = lead()
      expect(await only.hold(server('coordinator-standby'))).toBe('none')
      expect(only.why).toMatch(/is in recovery/)
    })
  })

  it('is taken by nobody who may only log in, by whatever number or name', async () => {
    await ask('CREATE ROLE mallory LOGIN')
    ends.push(async () => void (await ask('DROP ROLE mallory')))
    const other = await server('coordinator').connect({
      database: scenario.cluster.database,
      user: 'mallory',
    })
    ends.push(() => other.end())
    await other.query(`SET application_name = 'citus-ha'`)
    await other.query(
      `SELECT pg_advisory_lock(${0x63697475}, ${0x6c656164}), pg_advisory_lock(${0x63697475}, ${0x73686100})`,
    )
    for (const table of ['lead_lock', 'change_lock', 'pause', 'epoch']) {
      const lock = other.query(`BEGIN; LOCK TABLE citus_ha.${table} IN ACCESS SHARE MODE`)
      await expect(lock).rejects.toMatchObject({ code: '42501' })
      await other.query('ROLLBACK')
    }
    await expect(other.query('SELECT citus_ha.take_lead()')).rejects.toMatchObject({ code: '42501' })
    const only = lead()
    expect(await only.hold(coordinator())).toBe('leading')
    expect(await scenario.run('pause', '--group', '1')).toMatchObject({ exitCode: 0 })
    expect(await scenario.run('resume', '--group', '1')).toMatchObject({ exitCode: 0 })
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
  })

  it('holds up no vacuum, and names who leads', async () => {
    const [only, other] = [lead(), lead()]
    expect(await only.hold(coordinator())).toBe('leading')
    expect(await only.stillLeads()).toBe(true)
    const held = `SELECT a.pid, a.backend_xid, a.backend_xmin FROM pg_stat_activity a JOIN pg_locks l USING (pid)
      WHERE l.relation = 'citus_ha.lead_lock'::regclass AND l.granted`
    const [holder] = await ask(held)
    expect(holder).toMatchObject({ backend_xid: null, backend_xmin: null })
    expect(await other.hold(coordinator())).toBe('following')
    expect(other.why).toBe(`127.0.0.1, process ${holder?.pid} of citus_ha`)
  })

  it('is told no by a server that ends the session in between', async () => {
    const only = lead()
    expect(await only.hold(coordinator())).toBe('leading')
    await ask(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'citus_ha'`)
    expect(await only.stillLeads()).toBe(false)
  })

  it('believes no answer that lay there while its process was stopped', async () => {
    const only = lead()
    expect(await only.hold(coordinator())).toBe('leading')
    ends.push(() => server('coordinator').thaw())
    server('coordinator').freeze()
    const held = only.hold(coordinator())
    // From a timer: what the sockets have comes next, before the timer of the limit.
    await delay(50)
    server('coordinator').thaw()
    block(2 * INTERVAL_MS)
    expect(await held).toBe('none')
  })

  it('goes to one of many, for a role whose transactions are repeatable read', async () => {
    await ask(`ALTER ROLE citus_ha SET default_transaction_isolation = 'repeatable read'`)
    ends.push(async () => void (await ask('ALTER ROLE citus_ha RESET default_transaction_isolation')))
    for (let round = 0; round < 10; round++) {
      const racers = Array.from({ length: 8 }, () => lead())
      const held = await Promise.all(racers.map((racer) => racer.hold(coordinator())))
      expect(held.filter((each) => each === 'leading')).toHaveLength(1)
      expect(held.filter((each) => each === 'following')).toHaveLength(7)
      await Promise.all(racers.map((racer) => racer.release()))
    }
  })

  it('does not wait for a synchronous standby that is gone', async () => {
    await server('coordinator').configure({ synchronous_standby_names: 'gone', synchronous_commit: 'on' })
    ends.push(() => server('coordinator').configure({ synchronous_standby_names: '' }))
    const only = lead()
    expect(await only.hold(coordinator())).toBe('leading')
    await only.release()
    expect(await lead().hold(coordinator())).toBe('leading')
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

  constructor(where: { readonly at: HostPort; readonly database: string }) {
    const given = JSON.stringify({ ...where, intervalMs: INTERVAL_MS })
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
