import type { LookupAddress } from 'node:dns'
import { afterEach, describe, expect, it, test, vi } from 'vitest'
import { Secret } from '../../src/config/secret.ts'
import { type LookUp, localhost, lookupBy, NameError, Names } from '../../src/db/names.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { notificationOf } from '../../src/notify/notification.ts'
import { webhookDelivery } from '../../src/notify/webhook.ts'
import { observationOf } from '../../src/observe/failure.ts'
import { address } from '../support/builders.ts'
import { acted } from '../support/watch-state.ts'

const GOOD: LookupAddress[] = [{ address: '10.0.0.1', family: 4 }]
const LIMIT_MS = 200

/** Look-ups that end when and how the test says. */
class Resolver {
  readonly asked: string[] = []
  #ends: ((how: LookupAddress[] | Error) => void)[] = []
  readonly lookUp: LookUp = (host) => {
    this.asked.push(host)
    return new Promise((resolve, reject) => {
      this.#ends.push((how) => (how instanceof Error ? reject(how) : resolve(how)))
    })
  }
  end(how: LookupAddress[] | Error): void {
    for (const each of this.#ends) each(how)
    this.#ends = []
  }
}

const coded = (code: string) => Object.assign(new Error(`getaddrinfo ${code}`), { code })
const make = () => {
  const resolver = new Resolver()
  return { resolver, names: new Names(resolver.lookUp) }
}
/** One for which an address is known. */
const acquainted = async () => {
  const { resolver, names } = make()
  const first = names.find('db', LIMIT_MS)
  resolver.end(GOOD)
  await first
  return { resolver, names }
}
const timed = async <T>(work: Promise<T>) => {
  const began = performance.now()
  const value = await work.catch((error: unknown) => error)
  return { value, ms: performance.now() - began }
}

describe('names', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  test.each([['127.0.0.1'], ['::1'], ['fd00::1']])('%s is an address', async (host) => {
    const { resolver, names } = make()
    expect(await names.find(host, LIMIT_MS)).toMatchObject({ addresses: [{ address: host }], doubt: null })
    expect(resolver.asked).toEqual([])
  })

  it('share a look-up that is under way', async () => {
    const { resolver, names } = make()
    const all = [1, 2, 3].map(() => names.find('db', LIMIT_MS))
    resolver.end(GOOD)
    for (const each of await Promise.all(all)) expect(each).toEqual({ addresses: GOOD, doubt: null })
    expect(resolver.asked).toEqual(['db'])
  })

  it('that fail: the last good addresses serve, in doubt', async () => {
    const { resolver, names } = await acquainted()
    const again = names.find('db', LIMIT_MS)
    resolver.end(coded('EAI_AGAIN'))
    expect(await again).toEqual({ addresses: GOOD, doubt: expect.stringContaining('db cannot be resolved') })
  })

  test.each(['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL'])('never known, %s: proves nothing', async (code) => {
    const { resolver, names } = make()
    const found = names.find('db', LIMIT_MS).catch((error: unknown) => error)
    resolver.end(coded(code))
    const error = await found
    expect(error).toBeInstanceOf(NameError)
    expect(observationOf(error, address('w1a'))).toMatchObject({ kind: 'unreachable', cause: 'dns' })
  })

  it('that hang: only the first waits, and nobody asks again', async () => {
    const { resolver, names } = make()
    const first = await timed(names.find('db', LIMIT_MS))
    expect(first.value).toBeInstanceOf(NameError)
    expect(observationOf(first.value, address('w1a'))).toMatchObject({ cause: 'dns' })
    expect(first.ms).toBeGreaterThan(LIMIT_MS * 0.9)
    const second = await timed(names.find('db', 60_000))
    expect(second.value).toBeInstanceOf(NameError)
    expect(second.ms).toBeLessThan(30_000)
    expect(resolver.asked).toEqual(['db'])
  })

  it('that hang and were known: the last good addresses serve, with time left to try them', async () => {
    const { names } = await acquainted()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const found = names.find('db', LIMIT_MS)
    await vi.advanceTimersByTimeAsync(LIMIT_MS * 0.9)
    const now = await Promise.race([found, Promise.resolve('not yet')])
    expect(now).toMatchObject({ addresses: GOOD, doubt: expect.any(String) })
  })

  it('that answer again are believed again', async () => {
    const { resolver, names } = make()
    await timed(names.find('db', 1))
    resolver.end(coded('EAI_AGAIN'))
    await new Promise((resolve) => setImmediate(resolve))
    const again = names.find('db', LIMIT_MS)
    resolver.end(GOOD)
    expect(await again).toEqual({ addresses: GOOD, doubt: null })
  })

  it('are not waited for by others', async () => {
    const slow = new Promise<LookupAddress[]>(() => undefined)
    const names = new Names((host) => (host === 'good' ? Promise.resolve(GOOD) : slow))
    const hanging = Array.from({ length: 50 }, (_, n) => names.find(`dead-${n}`, LIMIT_MS).catch(() => null))
    expect(await names.find('good', LIMIT_MS)).toEqual({ addresses: GOOD, doubt: null })
    await Promise.all(hanging)
  })

  test.each([
    ['what the machine says', async () => GOOD, ['10.0.0.1']],
    // A hosts file without it, and a name server that keeps to the rules.
    ['loopback where it says nothing', () => Promise.reject(coded('ENOTFOUND')), ['127.0.0.1', '::1']],
  ])('localhost is %s', async (_, lookUp, expected) => {
    expect((await localhost(lookUp)).map(({ address }) => address)).toEqual(expected)
  })
})

describe('a webhook’s host', () => {
  const KEY = { kind: 'text', secret: new Secret('s'.repeat(16)) } as const
  const hook = { url: new Secret('http://hook.invalid:9/x'), secret: KEY, events: [] }
  const notification = notificationOf(acted(), 'here')
  const never = new AbortController().signal

  test('that can’t be looked up is said, and tried again', async () => {
    const { resolver, names } = make()
    const sent = webhookDelivery(hook, 5000, names)(notification, never)
    await waitUntil('it is asked', () => resolver.asked.length > 0)
    resolver.end(coded('EAI_AGAIN'))
    expect(await sent).toMatchObject({ kind: 'again', why: expect.stringContaining('hook.invalid') })
    expect(resolver.asked).toEqual(['hook.invalid'])
  })

  test('that hangs costs no more than the limit', async () => {
    const { names } = make()
    const { value, ms } = await timed(webhookDelivery(hook, 300, names)(notification, never))
    expect(value).toMatchObject({ kind: 'again' })
    expect(ms).toBeLessThan(5000)
  })

  test('is given in the form in which Node asks', async () => {
    const { resolver, names } = make()
    const ask = (all: boolean) =>
      new Promise((resolve) => {
        lookupBy(names, LIMIT_MS)('db', { all }, (...given) => resolve(given))
        resolver.end(GOOD)
      })
    expect(await ask(true)).toEqual([null, GOOD])
    expect(await ask(false)).toEqual([null, '10.0.0.1', 4])
  })
})
