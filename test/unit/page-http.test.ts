import { once } from 'node:events'
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import { Page } from '../../src/http/page.ts'
import { serve, type WatchListener } from '../../src/http/serve.ts'
import { toldOf } from '../../src/http/told.ts'
import type { Blocker } from '../../src/model/blocker.ts'
import { remark } from '../../src/model/remark.ts'
import type { WatchEvent } from '../../src/watch/event.ts'
import { address } from '../support/builders.ts'
import { acted, diagnosed, report, stateOf } from '../support/watch-state.ts'

const PATHS = ['/', '/app.js', '/app.css', '/status', '/events']

let listener: WatchListener
let page: Page
const streams: IncomingMessage[] = []

beforeEach(async () => {
  // As the watcher names them: where it listens is one of them.
  page = await Page.open(['127.0.0.1', 'citus.example'])
  const metrics = { contentType: 'text/plain', text: async () => '' }
  const state = stateOf()
  listener = await serve({
    listen: { host: '127.0.0.1', port: 0 },
    states: () => [state],
    metrics,
    problem: (line) => expect.fail(line),
  })
  listener.show(page)
})
afterEach(async () => {
  for (const stream of streams.splice(0)) stream.destroy()
  await listener.close()
})

const port = () => listener.address.port

/** One that says what it likes in `Host`, as `fetch` does not. */
async function ask(path: string, headers: IncomingHttpHeaders = {}, method = 'GET') {
  const asked = request({ host: '127.0.0.1', port: port(), path, method, headers, agent: false })
  asked.end()
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  if (answer.headers['content-type']?.startsWith('text/event-stream') && method === 'GET') {
    answer.on('error', () => undefined)
    streams.push(answer)
    return { status: answer.statusCode, headers: answer.headers, text: '', stream: answer }
  }
  let text = ''
  for await (const chunk of answer) text += chunk
  return { status: answer.statusCode, headers: answer.headers, text, stream: answer }
}

function follow(stream: IncomingMessage): { text: string; ended: boolean } {
  const seen = { text: '', ended: false }
  stream.setEncoding('utf8').on('data', (text: string) => {
    seen.text += text
  })
  stream.on('close', () => {
    seen.ended = true
  })
  return seen
}

describe('the page', () => {
  test('is there in full, with nothing of another place, and no script or style of its own', async () => {
    const { status, text, headers } = await ask('/')
    expect(status).toBe(200)
    expect(headers['content-type']).toBe('text/html; charset=utf-8')
    expect(text).not.toMatch(/<style|<script(?![^>]* src=)|\son\w+=|\sstyle=|https?:/)
    expect(await ask('/app.js')).toMatchObject({
      status: 200,
      headers: { 'content-type': 'text/javascript; charset=utf-8' },
    })
    expect(await ask('/app.css')).toMatchObject({
      status: 200,
      headers: { 'content-type': 'text/css; charset=utf-8' },
    })
    expect(await ask('/', {}, 'HEAD')).toMatchObject({ status: 200, text: '' })
    expect(await ask('/events', {}, 'HEAD')).toMatchObject({ status: 200, text: '' })
  })

  test.each(PATHS)('%s is shown under a strict policy', async (path) => {
    const { headers } = await ask(path)
    expect(headers).toMatchObject({
      'content-security-policy':
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
      'cache-control': 'no-store',
    })
  })

  test.each([
    [404, '/nothing', 'GET'],
    [404, '/../package.json', 'GET'],
    [404, '/%2e%2e/%2e%2e/package.json', 'GET'],
    [404, '/app.js%00', 'GET'],
    [400, '/%zz', 'GET'],
    [405, '/', 'OPTIONS'],
    [405, '/status', 'POST'],
    [200, '/metrics', 'GET'],
    [200, '/readyz', 'GET'],
  ])('%i for %s (%s) runs nothing, is in no frame and is not kept', async (status, path, method) => {
    expect(await ask(path, {}, method)).toMatchObject({
      status,
      headers: {
        'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
        'x-content-type-options': 'nosniff',
        'cache-control': 'no-store',
      },
    })
  })

  test.each(['POST', 'PUT', 'DELETE'])('%s changes nothing: 405', async (method) => {
    for (const path of PATHS) expect((await ask(path, {}, method)).status).toBe(405)
  })

  test('is not there until it is shown, nor when it is taken away; who looks at it then is let go', async () => {
    const { stream } = await ask('/events')
    const seen = follow(stream)
    listener.show(null)
    await waitUntil('the stream ends', () => seen.ended)
    for (const path of ['/', '/app.js', '/app.css', '/events']) expect((await ask(path)).status).toBe(404)
    expect((await ask('/status', { host: 'any.name' })).status).toBe(200)
  })
})

describe('under which name', () => {
  const own = () => `127.0.0.1:${port()}`

  test.each([
    [200, '127.0.0.1:8008'],
    [200, '10.0.0.9'],
    [200, '[::1]:8008'],
    [200, 'localhost:8008'],
    [200, 'LocalHost'],
    [200, 'citus.example'],
    [200, 'Citus.Example:443'],
    [421, 'evil.example'],
    [421, 'evil.example:8008'],
    [421, '127.0.0.1.evil.example'],
    [421, 'citus.example.evil.example'],
    [421, 'localhost.evil.example'],
    [421, 'user@127.0.0.1'],
    [421, '[evil]'],
    [421, '2130706433'],
  ])('%i for Host: %s', async (status, host) => {
    for (const path of PATHS)
      expect({ path, status: (await ask(path, { host })).status }).toEqual({ path, status })
  })

  test.each<[number, IncomingHttpHeaders | (() => IncomingHttpHeaders)]>([
    [200, () => ({ origin: `http://${own()}` })],
    [200, { host: 'citus.example', origin: 'https://citus.example' }],
    [200, { host: '127.0.0.1', origin: 'https://citus.example:8443' }],
    [200, { 'sec-fetch-site': 'same-origin' }],
    [200, { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate' }],
    [200, { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }],
    [403, { origin: 'null' }],
    [403, { origin: 'http://evil.example' }],
    [403, { origin: 'http://127.0.0.1:1' }],
    [403, { origin: 'https://127.0.0.1:3000' }],
    [403, { origin: 'http://localhost:3000' }],
    [403, { origin: 'file://' }],
    [403, { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }],
    [403, { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors' }],
  ])('%i for a page that asks with %o', async (status, given) => {
    const headers = typeof given === 'function' ? given() : given
    for (const path of ['/status', '/events'])
      expect({ path, status: (await ask(path, headers)).status }).toEqual({ path, status })
  })

  test('probes and scrapers may use any, as ever', async () => {
    for (const path of ['/healthz', '/readyz', '/metrics'])
      expect((await ask(path, { host: 'watcher-1.example:8008' })).status).toBe(200)
  })

  test('another one from now on, where the configuration is read again', async () => {
    page.rename(['other.example'])
    expect((await ask('/', { host: 'other.example' })).status).toBe(200)
    expect((await ask('/', { host: 'citus.example' })).status).toBe(421)
  })
})

test('/status is not sent again to whoever has it', async () => {
  const { headers } = await ask('/status')
  const again = await ask('/status', { 'if-none-match': headers.etag })
  expect(again).toMatchObject({ status: 304, text: '' })
  expect(await ask('/status', { 'if-none-match': '"other"' })).toMatchObject({ status: 200 })
})

describe('/events', () => {
  const lost: WatchEvent = {
    kind: 'noticed',
    database: 'app',
    node: address('w1a'),
    what: 'lost',
    detail: 'its connection ended',
    ageMs: null,
  }

  test('begins with what is known, and goes on with what happens', async () => {
    listener.told(acted({ report: report({ epoch: 7 }) }))
    const seen = follow((await ask('/events')).stream)
    await waitUntil('it begins', () => seen.text.includes('event: live'))
    expect(seen.text).toMatch(
      /event: hello\ndata: .*"since".*\n\nid: .*-1\nevent: acted\ndata: .*\n\nid: .*-1\nevent: live/,
    )
    listener.told(lost)
    await waitUntil('it goes on', () => seen.text.includes('event: noticed'))
    expect(seen.text).toContain('"node":"w1a:5432","group":1,')
    const [, id] = /id: (\S+)\nevent: noticed/.exec(seen.text) ?? []
    const later = follow((await ask('/events', { 'last-event-id': id })).stream)
    await waitUntil('it begins', () => later.text.includes('event: live'))
    expect(later.text).not.toMatch(/event: (noticed|acted)/)
  })

  test.each([
    ['of another watcher', () => 'ffffffff-1'],
    ['without a number', (run: string) => `${run}-x`],
    ['of an event to come', (run: string) => `${run}-99`],
    ['without an end', (run: string) => `${run}-Infinity`],
    ['of many parts', (run: string) => `${run}-1-1`],
  ])('tells all to whoever comes with an id %s', async (_, idOf) => {
    listener.told(lost)
    const seen = follow((await ask('/events')).stream)
    await waitUntil('it begins', () => seen.text.includes('event: live'))
    const [, run = ''] = /"run":"(\w+)"/.exec(seen.text) ?? []
    const again = follow((await ask('/events', { 'last-event-id': idOf(run) })).stream)
    await waitUntil('it begins', () => again.text.includes('event: live'))
    expect(again.text).toContain('event: noticed')
  })

  test('remembers so much and no more; a change longer than all else', async () => {
    listener.told(acted({ report: report({ epoch: 7 }) }))
    const long = { ...lost, detail: 'x'.repeat(2000) }
    for (let n = 0; n < 1000; n++) listener.told(long)
    const seen = follow((await ask('/events')).stream)
    await waitUntil('it begins', () => seen.text.includes('event: live'))
    expect(seen.text.length).toBeLessThan(300 * 1024)
    expect(seen.text).toContain('event: acted')
    expect(seen.text.match(/event: noticed/g)?.length).toBeGreaterThan(20)
  })

  test('is heard for longer than the silence that ends other connections', { timeout: 30_000 }, async () => {
    const seen = follow((await ask('/events')).stream)
    await waitUntil('three signs of life', () => (seen.text.match(/^: $/gm)?.length ?? 0) >= 3, {
      limitMs: 20_000,
    })
    expect(seen.ended).toBe(false)
  })

  test('has room for twenty: who comes then gets in, and the oldest of whoever has the most goes', async () => {
    const all: ReturnType<typeof follow>[] = []
    for (let n = 0; n < 21; n++) all.push(follow((await ask('/events')).stream))
    await waitUntil('the first one goes', () => all[0]?.ended)
    expect(all.slice(1).every(({ ended }) => !ended)).toBe(true)
    expect((await ask('/healthz')).status).toBe(200)
  })
})

describe('what is told of an event', () => {
  const at = '2026-01-01T00:00:00.000Z'
  const blocker: Blocker = {
    node: address('w1a'),
    pid: 4711,
    database: 'app',
    user: 'ann',
    application: 'payroll',
    state: 'idle in transaction',
    ageMs: 5,
    statement: 'SELECT secret',
    client: { node: 'cn1:5432', pid: 12 },
    ours: false,
  }
  const told = (event: WatchEvent) => JSON.stringify(toldOf(event, at, () => 1))

  test('says of sessions in the way how many there are, and nothing else', () => {
    const inTheWay = remark('in-the-way', 'w1a:5432: pid 4711, ann, payroll: SELECT secret', {
      node: 'w1a:5432',
    })
    const blocked = report({
      outcome: 'blocked',
      reason: remark('blocked', 'canceling statement due to lock timeout'),
      remarks: [inTheWay],
      warnings: [inTheWay.text],
      blockers: [blocker, blocker],
      ended: [blocker],
      epoch: null,
    })
    const text = told(acted({ report: blocked, failures: 2 }))
    expect(text).not.toMatch(/ann|payroll|4711|secret|idle in/)
    expect(JSON.parse(text)).toMatchObject({ inTheWay: [{ node: 'w1a:5432', count: 2 }], outcome: 'blocked' })
  })

  test.each<[string, WatchEvent, RegExp]>([
    [
      'who leads elsewhere',
      { kind: 'leadership', database: 'app', now: 'following', why: 'host w9, backend 12 leads' },
      /w9|backend/,
    ],
    [
      'a stack, a password',
      { kind: 'failed', database: 'app', message: 'postgres://u:hunter2@cn1/app broke\n    at look.ts:1' },
      /hunter2|look\.ts/,
    ],
    [
      'why a fence ended',
      { kind: 'fence', database: 'app', group: 1, now: 'ended', detail: 'pid 4711 of ann' },
      /4711|ann/,
    ],
  ])('keeps %s to itself', (_, event, secret) => {
    expect(told(event)).toMatch(/^\{"at"/)
    expect(told(event)).not.toMatch(secret)
  })

  test('lines of progress, which may name sessions, are not told', () => {
    expect(
      toldOf({ kind: 'progress', database: 'app', line: 'in the way: pid 4711' }, at, () => 1),
    ).toBeNull()
  })

  test('a diagnosis is told with its rule and its evidence', () => {
    const event = diagnosed({ evidence: ['w1a:5432 answers'] })
    expect(toldOf(event, at, () => 1)).toMatchObject({
      at,
      rule: 'D050',
      evidence: ['w1a:5432 answers'],
      was: null,
    })
  })
})
