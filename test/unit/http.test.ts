import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import type { Listener } from '../../src/http/listener.ts'
import { Metrics } from '../../src/http/metrics.ts'
import { serve } from '../../src/http/serve.ts'
import { formatAddress, type HostPort } from '../../src/model/node.ts'
import { statusDocument, statusOf } from '../../src/walk/status.ts'
import type { WatchState } from '../../src/watch/state.ts'
import { address } from '../support/builders.ts'
import { samplesOf } from '../support/exposition.ts'
import { stateOf, viewOf } from '../support/watch-state.ts'

const LOOPBACK: HostPort = { host: '127.0.0.1', port: 0 }
const open: Listener[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((listener) => listener.close()))
})

async function start(read: () => readonly WatchState[], listen = LOOPBACK) {
  const problems: string[] = []
  const metrics = await Metrics.open({ states: read, version: '0' })
  const listener = await serve({ listen, states: read, metrics, problem: (line) => problems.push(line) })
  open.push(listener)
  const base = `http://${formatAddress(listener.address)}`
  const ask = async (path: string, init?: RequestInit) => {
    const answer = await fetch(base + path, { signal: AbortSignal.timeout(10_000), ...init })
    const text = await answer.text()
    const type = answer.headers.get('content-type') ?? ''
    const body = type.startsWith('application/json') && text !== '' ? JSON.parse(text) : null
    return { status: answer.status, text, type, body, headers: answer.headers }
  }
  return { ask, listener, problems }
}

describe('/healthz', () => {
  test.each([
    [200, 'ok', [stateOf()]],
    [200, 'ok', []],
    [200, 'ok', [stateOf({ turnedMsAgo: 5000, turnLimitMs: 5000 })]],
    [200, 'ok', [stateOf({ leadership: 'none', coordinator: null, failure: 'no coordinator' })]],
    [503, 'stuck', [stateOf({ turnedMsAgo: 5001, turnLimitMs: 5000 })]],
  ])('%i %s while every loop turns, whatever it sees', async (code, status, states) => {
    const { ask } = await start(() => states)
    expect(await ask('/healthz')).toMatchObject({ status: code, body: { status } })
  })

  test('names the database whose loop hangs', async () => {
    const { ask } = await start(() => [stateOf(), stateOf({ database: 'b', turnedMsAgo: 60_000 })])
    const { body } = await ask('/healthz')
    expect(body.databases).toEqual([
      { database: 'app', turnedMsAgo: 20, turnLimitMs: 5000, turns: true },
      { database: 'b', turnedMsAgo: 60_000, turnLimitMs: 5000, turns: false },
    ])
  })
})

describe('/readyz', () => {
  test.each([
    [200, [stateOf()], [null]],
    [200, [stateOf({ leadership: 'following' })], [null]],
    [
      503,
      [stateOf({ leadership: 'following', undone: 'nothing was done for 30 s' })],
      ['nothing was done for 30 s'],
    ],
    [503, [], []],
    [503, [stateOf({ leadership: 'none' })], ['it neither leads nor follows yet']],
    [503, [stateOf(), stateOf({ coordinator: null })], [null, 'no coordinator was found yet']],
    [
      503,
      [
        stateOf({
          coordinator: null,
          failure: 'postgres://u:hunter2@cn1/app does not answer\n    at look.ts:1',
        }),
      ],
      ['postgres://u:***@cn1/app does not answer'],
    ],
  ])('%i where each database is looked after', async (code, states, why) => {
    const { ask } = await start(() => states)
    const { status, body } = await ask('/readyz')
    expect(status).toBe(code)
    expect(body.databases.map((each: { why: unknown }) => each.why)).toEqual(why)
  })
})

describe('/status', () => {
  test('is the document of the command, and says what is not known', async () => {
    const view = viewOf()
    const failing = stateOf({ database: 'b', view: null, failure: 'it has no Citus\n    at x' })
    const { ask } = await start(() => [stateOf({ view }), failing, stateOf({ database: 'c', view: null })])
    const { status, body } = await ask('/status')
    expect(status).toBe(200)
    expect(body).toEqual({
      ...JSON.parse(JSON.stringify(statusDocument([statusOf(view)]))),
      fences: [],
      failures: [
        { database: 'b', message: 'it has no Citus' },
        { database: 'c', message: 'not surveyed yet' },
      ],
    })
    expect(body.groups).toHaveLength(3)
  })

  test('is 503 while nothing was looked at', async () => {
    const { ask } = await start(() => [stateOf({ view: null })])
    expect(await ask('/status')).toMatchObject({ status: 503, body: { databases: [] } })
  })
})

test('/metrics is what Prometheus reads, of this moment', async () => {
  let states = [stateOf()]
  const { ask } = await start(() => states)
  const first = await ask('/metrics')
  expect(first.type).toMatch(/^text\/plain; version=0\.0\.4/)
  expect(samplesOf(first.text)).toMatchObject({ 'citus_ha_leading{database="app"}': 1 })
  states = [stateOf({ leadership: 'following' })]
  const both = await Promise.all([ask('/metrics'), ask('/metrics')])
  for (const { text } of both) {
    expect(samplesOf(text)).toMatchObject({
      'citus_ha_leading{database="app"}': 0,
      'citus_ha_turns_total{database="app"}': 12,
    })
  }
})

describe('what is not offered', () => {
  test.each(['/', '/healthz/', '/nothing', '/v1/reconcile', '//healthz'])(
    '%s: 404, as JSON',
    async (path) => {
      const { ask } = await start(() => [stateOf()])
      expect(await ask(path)).toMatchObject({ status: 404, body: { error: 'not found' } })
    },
  )

  test.each(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND'])(
    '%s: 405, body unread',
    async (method) => {
      const { ask, problems } = await start(() => [stateOf()])
      const body = method === 'OPTIONS' ? undefined : '{'.repeat(100_000)
      const headers = { 'content-type': 'application/json' }
      for (const path of ['/healthz', '/nothing']) {
        const answer = await ask(path, { method, headers, ...(body !== undefined && { body }) })
        expect(answer).toMatchObject({ status: 405, body: { error: 'method not allowed' } })
        expect(answer.headers.get('allow')).toBe('GET, HEAD')
      }
      expect(problems).toEqual([])
    },
  )

  test('a path that is no path: 400, as JSON', async () => {
    const { ask } = await start(() => [stateOf()])
    expect(await ask('/%zz')).toMatchObject({ status: 400, body: { error: 'bad request' } })
  })

  test('HEAD is answered as GET, without its body, and nothing may be kept', async () => {
    const { ask } = await start(() => [stateOf({ turnedMsAgo: 9000 })])
    for (const [path, status] of [
      ['/healthz', 503],
      ['/readyz', 200],
      ['/status', 200],
      ['/metrics', 200],
    ] as const) {
      const answer = await ask(path, { method: 'HEAD' })
      expect(answer).toMatchObject({ status, text: '' })
      expect(answer.headers.get('cache-control')).toBe('no-store')
    }
  })
})

describe('what never becomes a request is answered as one', () => {
  const LONG = 'x'.repeat(20_000)
  test.each([
    ['no HTTP', 'GARBAGE\r\n\r\n', 400, 'this is not an HTTP request'],
    ['no method of HTTP', 'BREW / HTTP/1.1\r\nhost: x\r\n\r\n', 400, 'this is not an HTTP request'],
    [
      'two lengths',
      'GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n',
      400,
      'this is not an HTTP request',
    ],
    ['no host', 'GET /healthz HTTP/1.1\r\n\r\n', 400, 'the header host is missing'],
    [
      'a path that is too long',
      `GET /${LONG} HTTP/1.1\r\nhost: x\r\n\r\n`,
      431,
      'the request line and its headers are too long',
    ],
    [
      'a header that is too long',
      `GET / HTTP/1.1\r\nhost: x\r\nx: ${LONG}\r\n\r\n`,
      431,
      'the request line and its headers are too long',
    ],
    ['an end that does not come', 'GET / HTTP/1.1\r\nhost', 408, 'the request was not complete in time'],
    [
      'something that it expects',
      'GET /nothing HTTP/1.1\r\nhost: x\r\nexpect: tea\r\nconnection: close\r\n\r\n',
      404,
      'not found',
    ],
  ])('%s', { timeout: 30_000 }, async (_, sent, status, error) => {
    const { listener, problems } = await start(() => [stateOf()])
    const socket = connect(listener.address)
    let text = ''
    socket.setEncoding('utf8').on('data', (piece: string) => {
      text += piece
    })
    socket.on('error', () => undefined)
    socket.write(sent)
    await waitUntil('it is answered', () => text.endsWith('}\n'))
    socket.destroy()
    const [head = '', body = ''] = text.split('\r\n\r\n')
    expect(head).toMatch(/connection: close/i)
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    for (const header of [
      'cache-control: no-store',
      'x-content-type-options: nosniff',
      'content-security-policy: ',
    ]) {
      expect(head.toLowerCase()).toContain(header)
    }
    expect(head).toMatch(/content-type: application\/json/i)
    expect(JSON.parse(body)).toEqual({ error })
    expect(problems).toEqual([])
  })
})

test('an error of ours is a line for us, and says nothing to whoever asks', async () => {
  const { ask, problems } = await start(() => {
    throw new Error('postgres://u:hunter2@cn1/app broke')
  })
  for (const path of ['/healthz', '/readyz', '/status', '/metrics']) {
    const { status, text } = await ask(path)
    expect(status).toBe(500)
    expect(JSON.parse(text)).toEqual({ error: 'internal error' })
  }
  expect(problems).toHaveLength(4)
  expect(problems[0]).toBe('GET /healthz: postgres://u:***@cn1/app broke')
})

describe('listening', () => {
  test('takes the port it was given, or one of the system’s, and gives it back', async () => {
    const { listener } = await start(() => [])
    expect(listener.address).toEqual({ host: '127.0.0.1', port: expect.any(Number) })
    expect(listener.address.port).toBeGreaterThan(0)
    await listener.close()
    const again = await start(() => [], listener.address)
    expect(again.listener.address).toEqual(listener.address)
  })

  test('where somebody else does: one clear line', async () => {
    const other = createServer()
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    const bound = other.address()
    const port = typeof bound === 'object' && bound ? bound.port : 0
    try {
      await expect(start(() => [], { host: '127.0.0.1', port })).rejects.toMatchObject({
        name: 'CitusHaError',
        code: 'configuration',
        message: `HTTP cannot listen on 127.0.0.1:${port}: the port is in use`,
      })
    } finally {
      await new Promise((resolve) => other.close(resolve))
    }
  })

  test.each([
    ['192.0.2.1', /192\.0\.2\.1:8008: this machine has no such address/],
    ['nosuch.invalid', /nosuch\.invalid:8008: (no such host|the host name cannot be resolved now)/],
  ])('where nobody can, %s: one clear line', async (host, expected) => {
    await expect(start(() => [], { host, port: 8008 })).rejects.toThrow(expected)
  })

  test('ends connections that are idle, or in the middle of a request, when it closes', async () => {
    const { listener } = await start(() => [stateOf()])
    const { host, port } = listener.address
    const slow = connect({ host, port })
    await once(slow, 'connect')
    slow.write('GET /healthz HTTP/1.1\r\nhost: x\r\n')
    const idle = connect({ host, port })
    idle.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')
    await once(idle, 'data')
    const ended = Promise.all([once(slow, 'close'), once(idle, 'close')])
    slow.on('error', () => undefined)
    idle.on('error', () => undefined)
    slow.resume()
    idle.resume()
    const began = performance.now()
    await listener.close()
    await ended
    expect(performance.now() - began).toBeLessThan(5000)
  })

  test('serves no more than so many at once, and goes on afterwards', { timeout: 30_000 }, async () => {
    const { ask, listener } = await start(() => [stateOf()])
    const { host, port } = listener.address
    let refused = 0
    const crowd = Array.from({ length: 150 }, () => {
      const socket = connect({ host, port })
      socket.on('error', () => undefined)
      socket.on('close', () => refused++)
      return socket
    })
    await waitUntil('the rest is turned away', () => refused >= 50)
    for (const socket of crowd) socket.destroy()
    await waitUntil('it answers again', async () => (await ask('/healthz')).status === 200)
  })
})

test('an address of the coordinator is shown as everywhere', async () => {
  const { ask } = await start(() => [stateOf({ coordinator: address('cn1') })])
  const { body } = await ask('/readyz')
  expect(body.databases).toEqual([
    { database: 'app', leadership: 'leading', coordinator: 'cn1:5432', why: null },
  ])
})
