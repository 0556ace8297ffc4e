import { describe, expect, it } from 'vitest'
import { type Row, type SessionLike, SessionLost } from '../../src/db/pg.ts'
import type { Observation } from '../../src/model/observation.ts'
import { returnedAs } from '../../src/switchover/returned.ts'
import type { Scope } from '../../src/switchover/scope.ts'
import { Target, type Which, whyAnother } from '../../src/switchover/target.ts'
import { silent, standby, writable } from '../support/builders.ts'

const OLD = writable('w1a', 1)
const MOVE = { group: 1, from: OLD, to: standby('w1b', 1, 'w1a') }
const LATER = (OLD.timeline ?? 0) + 1
const { instance, systemIdentifier } = MOVE.to
const FIRST: Which = { instance, system_identifier: systemIdentifier, in_recovery: true, timeline: null }
const PROMOTED: Which = { ...FIRST, in_recovery: false, timeline: LATER }

describe('where a new session to the target leads', () => {
  it.each<[string, Partial<Which>, RegExp | null]>([
    ['the same server', {}, null],
    ['the same, promoted', PROMOTED, null],
    ['another system', { instance: 'other', system_identifier: '99' }, /another server/],
    ['another standby, or it was restarted', { instance: 'later' }, /restarted/],
    ['the old primary', { ...PROMOTED, instance: 'w1a', timeline: OLD.timeline }, /another server/],
    ['restarted, and promoted', { ...PROMOTED, instance: 'later' }, null],
  ])('%s', (_, now, why) => {
    const told = whyAnother(MOVE, { ...FIRST, ...now })
    if (why === null) expect(told).toBeNull()
    else expect(told).toMatch(why)
  })
})

/** A server that is promoted when it is asked; its sessions end when told so. */
class Fake {
  now = FIRST
  asked = 0
  reachable = true
  /** Before which statement the session is lost, once. */
  lostAt: string | null = null
  sessions = 0
  lose = (): void => undefined

  open = async (): Promise<SessionLike> => {
    if (!this.reachable) throw Object.assign(new Error('connection refused'), { code: 'ECONNREFUSED' })
    this.sessions++
    const session = {
      pid: 1,
      alive: true,
      run: async (sql: string): Promise<Row[][]> => {
        if (this.lostAt !== null && sql.includes(this.lostAt)) {
          this.lostAt = null
          session.alive = false
        }
        if (!session.alive) throw new SessionLost('terminated', '57P01')
        return [[this.answer(sql)]]
      },
      close: async () => undefined,
    }
    this.lose = () => {
      session.alive = false
    }
    return session
  }

  answer(sql: string): Row {
    if (sql.includes('pg_promote')) {
      this.asked++
      this.now = PROMOTED
      return {}
    }
    if (sql.includes('AS instance')) return this.now
    if (sql.includes('AS there')) return { there: true }
    return { standby: this.now.in_recovery }
  }
}

describe('the session to the target is lost', () => {
  const soon = () => performance.now() + 300

  async function made() {
    const fake = new Fake()
    const target = new Target(MOVE, fake.open, await fake.open())
    await target.replayedTo('0/1', soon())
    return { fake, target }
  }

  it('before its promotion: another one is opened, and what it has replayed is asked again', async () => {
    const { fake, target } = await made()
    fake.lose()
    await target.ready(soon())
    await target.askForPromotion()
    await target.promoted('pg_promote', soon())
    expect(fake).toMatchObject({ sessions: 2, asked: 1 })
  })

  it('before its promotion, and there is no other one: it was not asked for', async () => {
    const { fake, target } = await made()
    fake.lose()
    fake.reachable = false
    await expect(target.ready(soon())).rejects.toThrow(/broke, and no other one could be opened/)
    expect(target.asked).toBe(false)
  })

  it('with the request: it is asked for once more', async () => {
    const { fake, target } = await made()
    fake.lostAt = 'pg_promote'
    await target.askForPromotion()
    expect(target.asked).toBe(true)
    await target.promoted('pg_promote', soon())
    expect(fake).toMatchObject({ sessions: 2, asked: 1 })
  })

  it('after a command was to promote it: it is looked at, and not asked', async () => {
    const { fake, target } = await made()
    target.commanded()
    fake.lostAt = 'generate_series'
    setTimeout(() => {
      fake.now = PROMOTED
    }, 100)
    await target.promoted('command', soon())
    expect(fake).toMatchObject({ sessions: 2, asked: 0 })
  })

  it('after the request, and there is no other one: that is not known', async () => {
    const { fake, target } = await made()
    await target.askForPromotion()
    fake.lostAt = 'generate_series'
    fake.reachable = false
    await expect(target.promoted('pg_promote', soon())).rejects.toThrow(/no other one could be opened/)
    expect(target.asked).toBe(true)
  })
})

describe('whether an old primary that was stopped is running again', () => {
  it.each<[string, Observation | 'never answers', string | null]>([
    ['it is stopped', silent('w1a'), null],
    ['its host is off', 'never answers', null],
    ['it is running', OLD, 'running'],
    ['it is a standby', standby('w1a', 1, 'w1b'), null],
    ['the change has retired it', { ...OLD, retired: true }, 'retired'],
    ['its name leads to the new primary', { ...OLD, timeline: LATER }, null],
    ['its name leads to another system', { ...OLD, systemIdentifier: '99' }, null],
  ])('%s: %s', async (_, seen, is) => {
    const probe = () => (seen === 'never answers' ? new Promise(() => undefined) : Promise.resolve(seen))
    const scope = { access: { prober: () => ({ probe }) }, request: { database: 'app' } } as unknown as Scope
    expect(await returnedAs(scope, MOVE)).toBe(is)
  })
})
