import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/schema.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import type { ControlActions } from '../../src/http/control/actions.ts'
import { callControl } from '../../src/http/control/client.ts'
import { type ControlListener, serveControl } from '../../src/http/control/serve.ts'
import { CitusHaError } from '../../src/model/failure.ts'
import { formatAddress } from '../../src/model/node.ts'
import { Authority, type Certificate } from '../support/certificates.ts'
import { report } from '../support/watch-state.ts'

const TOKEN = 'a-token-of-enough-characters'
const open: ControlListener[] = []
let directory: string
let authority: Authority
let foreign: Authority
let certificate: Certificate

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'citus-ha-control-'))
  authority = await Authority.make(directory, 'own')
  foreign = await Authority.make(directory, 'foreign')
  certificate = await authority.sign('watcher')
})
afterAll(async () => {
  await rm(directory, { recursive: true, force: true })
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((listener) => listener.close()))
})

async function configOf(control: object): Promise<Config> {
  const yaml = JSON.stringify({ coordinators: [{ url: 'postgres://u@cn1/app' }], control })
  return await loadConfig({ file: 'citus-ha.yaml', env: {}, readFile: async () => yaml })
}

interface Heard {
  readonly orders: [name: string, ...given: unknown[]][]
  readonly lines: string[]
  readonly problems: string[]
}

/** Orders are written down, and carried out by nobody. */
async function start(control: object = { token: TOKEN }, actions: Partial<ControlActions> = {}) {
  const { control: read } = await configOf({ listen: '127.0.0.1:0', ...control })
  if (!read?.listen) throw new Error('it does not listen')
  const heard: Heard = { orders: [], lines: [], problems: [] }
  const listener = await serveControl({
    control: { ...read, listen: read.listen },
    actions: () => ({
      reconcile: async (...given) => {
        heard.orders.push(['reconcile', ...given])
        return { done: [report()], failed: [], exitCode: 0 }
      },
      pause: async (...given) => {
        heard.orders.push(['pause', ...given])
        return []
      },
      history: async (...given) => {
        heard.orders.push(['history', ...given])
        return []
      },
      fence: async () => [],
      release: async () => [],
      ...actions,
    }),
    version: '1.2.3',
    done: (line) => heard.lines.push(line),
    problem: (line) => heard.problems.push(line),
  })
  open.push(listener)
  const base = `http://${formatAddress(listener.address)}`
  const ask = async (path: string, init: RequestInit & { token?: string | null } = {}) => {
    const { token = TOKEN, headers, ...rest } = init
    const authorization = token === null ? {} : { authorization: `Bearer ${token}` }
    const all = { ...authorization, ...Object.fromEntries(new Headers(headers)) }
    const answer = await fetch(base + path, { signal: AbortSignal.timeout(10_000), ...rest, headers: all })
    const text = await answer.text()
    return { status: answer.status, body: text === '' ? null : JSON.parse(text), headers: answer.headers }
  }
  const post = (path: string, body: unknown, init: RequestInit & { token?: string | null } = {}) =>
    ask(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...init,
    })
  return { ask, post, listener, base, ...heard }
}

describe('who may ask', () => {
  const PATHS = [
    '/v1/reconcile',
    '/v1/history',
    '/v1/events',
    '/v1/openapi.json',
    '/',
    '/nothing',
    '/%zz',
    '//x',
  ]

  test.each([
    ['without a token', null],
    ['with another one', 'another-token-of-enough-characters'],
    ['with a part of it', TOKEN.slice(0, -1)],
    ['with more than it', `${TOKEN}x`],
  ])('%s: 401 and nothing else, whatever is asked', async (_, token) => {
    const { ask, post, orders, problems } = await start()
    for (const path of PATHS) {
      for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PROPFIND']) {
        const { status, body, headers } = await ask(path, { method, token })
        expect([method, path, status, body]).toEqual([method, path, 401, { error: 'unauthorized' }])
        expect(headers.get('www-authenticate')).toBe('Bearer realm="citus-ha"')
        expect(headers.get('x-ratelimit-limit')).toBeNull()
      }
    }
    expect(await post('/v1/pause', '{'.repeat(100_000), { token })).toMatchObject({ status: 401 })
    expect({ orders, problems }).toEqual({ orders: [], problems: [] })
  })

  test.each(['Basic abc', 'Bearer', TOKEN, `Bearer ${TOKEN} ${TOKEN}`, `Token ${TOKEN}`])(
    'not with %j',
    async (authorization) => {
      const { ask } = await start()
      expect(await ask('/v1/history', { token: null, headers: { authorization } })).toMatchObject({
        status: 401,
      })
    },
  )

  test('the token of a file is the one that the file has now', async () => {
    const tokenFile = join(directory, 'token')
    await writeFile(tokenFile, `${TOKEN}\n`)
    const { ask, problems } = await start({ tokenFile })
    expect(await ask('/v1/history')).toMatchObject({ status: 200 })
    await writeFile(tokenFile, 'the-next-token-of-enough-characters\n')
    expect(await ask('/v1/history')).toMatchObject({ status: 401 })
    expect(await ask('/v1/history', { token: 'the-next-token-of-enough-characters' })).toMatchObject({
      status: 200,
    })
    await rm(tokenFile)
    for (let n = 0; n < 3; n++) expect(await ask('/v1/history')).toMatchObject({ status: 401 })
    expect(problems).toEqual([`control: ${tokenFile}: no such file`])
    await writeFile(tokenFile, 'short\n')
    expect(await ask('/v1/history', { token: 'short' })).toMatchObject({ status: 401 })
  })

  test('a page in a browser may not', async () => {
    const { post, orders } = await start()
    const headers = { origin: 'https://evil.example', 'content-type': 'application/json' }
    expect(await post('/v1/pause', {}, { headers })).toMatchObject({ status: 403 })
    expect(orders).toEqual([])
  })

  test.each([
    [
      'a token file that is not there',
      { tokenFile: '/nonexistent/token' },
      /\/nonexistent\/token: no such file/,
    ],
    [
      'a key that is none',
      () => ({ token: TOKEN, tls: { cert: certificate.cert, key: certificate.cert } }),
      /control\.tls: .* cannot be used/,
    ],
    [
      'a certificate that is not there',
      { token: TOKEN, tls: { cert: '/nonexistent', key: '/nonexistent' } },
      /control\.tls\.cert: \/nonexistent: no such file/,
    ],
  ])('nothing is opened with %s', async (_, control, expected) => {
    await expect(start(typeof control === 'function' ? control() : control)).rejects.toThrow(expected)
  })
})

describe('what may be asked', () => {
  test('a reconcile, with all that the command takes', async () => {
    const { post, orders, lines } = await start()
    const body = {
      database: 'app',
      group: 1,
      promoted: 'w1b:5432',
      wait: '30s',
      timeout: '1.5s',
      dryRun: true,
    }
    const answer = await post('/v1/reconcile', body)
    expect(answer).toMatchObject({ status: 200, body: { outcome: 'changed', exitCode: 0, databases: [{}] } })
    const order = {
      group: 1,
      promoted: { host: 'w1b', port: 5432 },
      waitMs: 30_000,
      timeoutMs: 1500,
      mode: 'dry-run',
    }
    const asked = { database: 'app', madeBy: 'citus-ha (asked over HTTP by 127.0.0.1)' }
    expect(orders).toEqual([['reconcile', order, asked]])
    expect(lines).toEqual(['POST /v1/reconcile from 127.0.0.1: changed'])
  })

  test.each([
    [{}, 'citus-ha (asked'],
    [{ by: 'person' }, 'citus-ha (asked'],
    [{ by: 'tool', tool: 'patroni' }, 'citus-ha event patroni (asked'],
    [{ by: 'tool' }, 'citus-ha event of a tool (asked'],
  ])('whose word it is, for the record: %o', async (word, madeBy) => {
    const { post, orders } = await start()
    expect(await post('/v1/reconcile', { promoted: 'w1b:5432', ...word })).toMatchObject({ status: 200 })
    expect(await post('/v1/groups/1/promoted', { node: 'w1b:5432', ...word })).toMatchObject({ status: 200 })
    for (const [, order, asked] of orders) {
      expect(order).toMatchObject({ promoted: { host: 'w1b', port: 5432 } })
      expect(order).toHaveProperty('by', 'by' in word ? word.by : undefined)
      expect(asked).toMatchObject({ madeBy: `${madeBy} over HTTP by 127.0.0.1)` })
    }
    expect(orders).toHaveLength(2)
  })

  test('no name of a tool that would not be one', async () => {
    const { post, orders } = await start()
    const body = { promoted: 'w1b:5432', by: 'tool', tool: 'x) as postgres (' }
    expect(await post('/v1/reconcile', body)).toMatchObject({ status: 400, body: { code: 'usage' } })
    expect(orders).toEqual([])
  })

  test.each([{}, { by: 'person' }])('no tool is named whose word it is not: %o', async (word) => {
    const { ask, post, orders } = await start()
    const given = { ...word, tool: 'patroni' }
    const document = (await ask('/v1/openapi.json')).body
    const ajv = new Ajv2020({ strict: false }).addSchema(document, 'openapi')
    const asked = [
      ['/v1/reconcile', '/v1/reconcile', { promoted: 'w1b:5432' }],
      ['/v1/groups/1/promoted', '/v1/groups/{group}/promoted', { node: 'w1b:5432' }],
    ] as const
    for (const [path, documented, body] of asked) {
      expect(await post(path, { ...body, ...given })).toMatchObject({
        status: 400,
        body: { code: 'usage', error: expect.stringContaining('tool: only with by: tool') },
      })
      const pointer = documented.replaceAll('/', '~1').replace('{', '%7B').replace('}', '%7D')
      const $ref = `openapi#/paths/${pointer}/post/requestBody/content/application~1json/schema`
      const check = ajv.compile({ $ref })
      expect(check({ ...body, ...given })).toBe(false)
      expect(check({ ...body, by: 'tool', tool: 'patroni' }), JSON.stringify(check.errors)).toBe(true)
    }
    expect(orders).toEqual([])
  })

  test.each([
    ['an empty object', '{}', { 'content-type': 'application/json' }],
    ['an empty body', '', { 'content-type': 'application/json' }],
    ['no body', undefined, {}],
  ])('a reconcile of everything, by %s', async (_, body, headers) => {
    const { ask, orders } = await start()
    const answer = await ask('/v1/reconcile', {
      method: 'POST',
      headers,
      ...(body !== undefined && { body }),
    })
    expect(answer).toMatchObject({ status: 200 })
    const order = { group: null, promoted: null, waitMs: 10_000, timeoutMs: null, mode: 'apply' }
    expect(orders).toEqual([['reconcile', order, expect.objectContaining({ database: null })]])
  })

  test('of several databases the worst decides, and one that fails is told with the others', async () => {
    const failed = [{ database: 'b', error: 'nobody answers', exitCode: 4 }]
    const none = { done: [], failed, exitCode: 4 }
    const some = { ...none, done: [report({ outcome: 'refused' })] }
    for (const [ran, databases] of [
      [some, [{ database: 'app', outcome: 'refused', exitCode: 3 }, ...failed]],
      [none, failed],
    ] as const) {
      const { post, ask } = await start(undefined, { reconcile: async () => ran })
      const { status, body } = await post('/v1/reconcile', {})
      expect({ status, body }).toMatchObject({ status: 200, body: { exitCode: 4, databases } })
      const document = (await ask('/v1/openapi.json')).body
      const ajv = new Ajv2020({ strict: false }).addSchema(document, 'openapi')
      const check = ajv.compile({ $ref: 'openapi#/components/schemas/Reports' })
      expect(check(body), JSON.stringify(check.errors)).toBe(true)
      expect(check({ ...body, more: 1 })).toBe(false)
    }
  })

  test('a group’s promoted node, a pause, its end, the history', async () => {
    const { post, ask, orders } = await start()
    const order = {
      group: 7,
      promoted: { host: '::1', port: 5 },
      waitMs: 10_000,
      timeoutMs: null,
      mode: 'apply',
    }
    expect(await post('/v1/groups/7/promoted', { node: '[::1]:5' })).toMatchObject({ status: 200 })
    expect(await post('/v1/pause', { group: 0, reason: ' disks\nmoved ' })).toMatchObject({ status: 200 })
    expect(await post('/v1/resume', {})).toMatchObject({ status: 200, body: { databases: [] } })
    expect(await ask('/v1/history?limit=5&database=app')).toMatchObject({
      status: 200,
      body: { changes: [] },
    })
    const asked = expect.objectContaining({ database: null })
    expect(orders).toEqual([
      ['reconcile', order, asked],
      ['pause', { kind: 'pause', group: 0, why: 'disks moved' }, asked],
      ['pause', { kind: 'resume', group: null }, asked],
      ['history', 5, expect.objectContaining({ database: 'app' })],
    ])
  })

  test.each([
    ['/v1/reconcile', { grup: 1 }, 'unknown field "grup"; did you mean "group"?'],
    ['/v1/reconcile', { nope: 1, dryrun: true }, 'unknown field "nope", "dryrun"; did you mean "dryRun"?'],
    ['/v1/reconcile', { group: '1' }, 'group: expected a number, got text'],
    ['/v1/reconcile', { group: null }, 'group: expected a number, got nothing'],
    ['/v1/reconcile', { group: 1.5 }, 'group: expected a whole number, got a fraction'],
    ['/v1/reconcile', { group: -1 }, 'group: expected 0 or more'],
    ['/v1/reconcile', { group: 1e9 }, 'group: expected 999999999 or less'],
    ['/v1/reconcile', { database: 5 }, 'database: expected text, got a number: put it in quotes'],
    ['/v1/reconcile', { database: '' }, 'database: expected a name'],
    ['/v1/reconcile', { database: 'x'.repeat(64) }, 'database: expected 63 characters or less'],
    ['/v1/reconcile', { dryRun: 'yes' }, 'dryRun: expected true or false, got text'],
    ['/v1/reconcile', { by: 'x' }, 'by: expected one of person, tool'],
    ['/v1/reconcile', { promoted: 'w1b' }, 'promoted: expected HOST:PORT, such as worker-1b.example:5432'],
    ['/v1/reconcile', { timeout: '1y' }, 'timeout: expected a duration such as 200ms, 10s or 5m'],
    ['/v1/reconcile', { wait: '11m' }, 'wait: expected ten minutes or less'],
    ['/v1/reconcile', [], 'expected a mapping, got a list'],
    ['/v1/reconcile', 'null', 'expected a mapping, got nothing'],
    ['/v1/reconcile', '5', 'expected a mapping, got a number'],
    ['/v1/reconcile?dryRun=true', {}, 'unknown field "dryRun"'],
    ['/v1/groups/1/promoted', {}, 'node: expected text, got nothing'],
    ['/v1/groups/one/promoted', { node: 'a:1' }, 'group: expected a group id, such as 1'],
    ['/v1/groups/1/promoted', { node: 'a:1', group: 2 }, 'unknown field "group"'],
    ['/v1/groups/1/fence', {}, 'ttl: expected text, got nothing'],
    ['/v1/groups/1/fence', { ttl: '0s' }, 'ttl: expected more than zero'],
    ['/v1/fence', { ttl: '1s' }, 'group: expected a number, got nothing'],
    ['/v1/pause', { reason: 'x'.repeat(501) }, 'reason: expected 500 characters or less'],
    ['/v1/resume', { reason: 'x' }, 'unknown field "reason"'],
  ])('%s not with %j: 400 and one line', async (path, body, error) => {
    const { post, orders } = await start()
    expect(await post(path, body)).toMatchObject({ status: 400, body: { error, code: 'usage', exitCode: 2 } })
    expect(orders).toEqual([])
  })

  test.each(['0', '-1', '10000', 'all'])('no history of %s changes', async (limit) => {
    const { ask } = await start()
    const error = 'limit: expected a number from 1 to 9999'
    expect(await ask(`/v1/history?limit=${limit}`)).toMatchObject({ status: 400, body: { error } })
  })

  const JSON_TYPE = 'application/json'
  test.each([
    [JSON_TYPE, '{"group":', 400, 'the body is not JSON'],
    [JSON_TYPE, '{"__proto__":{"group":1}}', 400, 'the body is not JSON'],
    [JSON_TYPE, '{"group":1,"group":2}', 400, 'field "group" is given twice'],
    [
      JSON_TYPE,
      '{"reason":"\\"group\\":","gr\\u006fup":1, "group" : 2}',
      400,
      'field "group" is given twice',
    ],
    [JSON_TYPE, `{"reason":"${'x'.repeat(17_000)}"}`, 413, 'the body is longer than 16384 bytes'],
    ['text/plain', '{}', 415, 'the content type must be application/json'],
    ['application/x-www-form-urlencoded', '{}', 415, 'the content type must be application/json'],
    ['application/xml', '{}', 415, 'the content type must be application/json'],
  ])('no body of %s: %.60s', async (type, body, status, error) => {
    const { ask, orders } = await start()
    const headers = { 'content-type': type }
    expect(await ask('/v1/pause', { method: 'POST', headers, body })).toMatchObject({
      status,
      body: { error },
    })
    expect(orders).toEqual([])
  })

  test('a field whose name is in another one’s text stands there once', async () => {
    const { post, orders } = await start()
    expect(await post('/v1/pause', { group: 1, reason: '"group": 2' })).toMatchObject({ status: 200 })
    expect(orders).toHaveLength(1)
  })

  test('what is not there: 404; other methods: 405', async () => {
    const { ask, post } = await start()
    expect(await ask('/v1/reconcile')).toMatchObject({ status: 404, body: { error: 'not found' } })
    expect(await post('/v1/nothing', {})).toMatchObject({ status: 404 })
    for (const method of ['PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD']) {
      const { status, headers } = await ask('/v1/pause', { method })
      expect([method, status, headers.get('allow')]).toEqual([method, 405, 'GET, POST'])
    }
  })

  test('a fence and its release, by either path', async () => {
    const given: unknown[] = []
    const { post } = await start(undefined, {
      fence: async (order) => {
        given.push(order)
        return []
      },
      release: async (order) => {
        given.push(order)
        return [{ database: 'app', group: order.group, released: true, heldMs: 12 }]
      },
    })
    expect(await post('/v1/groups/2/fence', { ttl: '30s' })).toMatchObject({ status: 200 })
    await post('/v1/fence', { group: 2, ttl: '1m', database: 'app' })
    await post('/v1/groups/2/release', {})
    await post('/v1/release', { group: 2, database: 'app' })
    expect(given).toEqual([
      { database: null, group: 2, ttlMs: 30_000 },
      { database: 'app', group: 2, ttlMs: 60_000 },
      { database: null, group: 2 },
      { database: 'app', group: 2 },
    ])
  })

  test.each([
    [new CitusHaError('usage', 'there is no group 7'), 400, { code: 'usage', exitCode: 2 }],
    [new CitusHaError('not-installed', 'run install'), 409, { code: 'not-installed', exitCode: 2 }],
    [new CitusHaError('two-coordinators', 'a and b'), 409, { code: 'two-coordinators', exitCode: 3 }],
    [new CitusHaError('no-coordinator', 'nobody'), 503, { code: 'no-coordinator', exitCode: 4 }],
    [new CitusHaError('blocked', 'busy'), 503, { code: 'blocked', exitCode: 4 }],
    [new DOMException('aborted', 'AbortError'), 503, { code: 'interrupted', exitCode: 4 }],
    [
      Object.assign(new Error('permission denied for function pause_changes'), { code: '42501' }),
      409,
      { error: 'permission denied for function pause_changes', code: 'configuration', exitCode: 2 },
    ],
    [
      new Error('postgres://u:hunter2@h/d broke\n at x'),
      500,
      { error: 'postgres://u:***@h/d broke', exitCode: 1 },
    ],
  ])('an order that comes to nothing says why: %s', async (error, status, body) => {
    const { post, problems } = await start(undefined, { reconcile: () => Promise.reject(error) })
    expect(await post('/v1/reconcile', {})).toMatchObject({ status, body })
    expect(problems).toHaveLength(status === 500 ? 1 : 0)
    expect(problems.join()).not.toContain('hunter2')
  })

  test('so many from one address within a minute, and no more', { timeout: 30_000 }, async () => {
    const { ask } = await start()
    const statuses: number[] = []
    for (let n = 0; n < 250; n++) statuses.push((await ask('/v1/history')).status)
    expect(statuses.slice(0, 240).every((status) => status === 200)).toBe(true)
    expect(new Set(statuses.slice(240))).toEqual(new Set([429]))
    const { headers, body } = await ask('/v1/history')
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
    expect(body.error).toMatch(/^more than 240 calls within a minute: call again in /)
    // Whoever has no token learns nothing of that, and takes nothing from whoever has.
    expect(await ask('/v1/history', { token: null })).toMatchObject({ status: 401 })
  })
})

describe('/v1/openapi.json', () => {
  test('is an OpenAPI 3.1 document, and names every path', async () => {
    const { ask } = await start()
    const { status, body } = await ask('/v1/openapi.json')
    expect(status).toBe(200)
    const validator = new Validator()
    expect(await validator.validate(structuredClone(body))).toMatchObject({ valid: true })
    expect(validator.version).toBe('3.1')
    expect(body.info.version).toBe('1.2.3')
    expect(Object.keys(body.paths).sort()).toEqual([
      '/v1/events',
      '/v1/fence',
      '/v1/groups/{group}/fence',
      '/v1/groups/{group}/promoted',
      '/v1/groups/{group}/release',
      '/v1/history',
      '/v1/openapi.json',
      '/v1/pause',
      '/v1/reconcile',
      '/v1/release',
      '/v1/resume',
    ])
  })

  test('the validator refuses one that is broken', async () => {
    const { ask } = await start()
    const { body } = await ask('/v1/openapi.json')
    body.paths['/v1/pause'].post.responses = 7
    expect(await new Validator().validate(body)).toMatchObject({ valid: false })
  })
})

describe('/v1/events', () => {
  async function listen(base: string) {
    const stop = new AbortController()
    const headers = { authorization: `Bearer ${TOKEN}` }
    const answer = await fetch(`${base}/v1/events`, { headers, signal: stop.signal })
    let text = ''
    const ended = (async () => {
      for await (const piece of answer.body ?? []) text += Buffer.from(piece).toString()
    })().catch(() => undefined)
    return { answer, stop, ended, text: () => text }
  }

  test('is every event, as it is told, without passwords, until the end', async () => {
    const { base, listener } = await start()
    const { answer, ended, text } = await listen(base)
    expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    listener.told({ kind: 'progress', database: 'app', line: 'one\ntwo' })
    listener.told({ kind: 'failed', database: 'app', message: 'postgres://u:hunter2@h/d' })
    await waitUntil('both are there', () => text().includes('***'))
    const events = [...text().matchAll(/id: (\d+)\nevent: (\w+)\ndata: (.*)\n\n/g)]
    const told = { at: expect.any(String), database: 'app' }
    const about = { group: null, node: null }
    expect(events.map(([, id, kind, data]) => [id, kind, JSON.parse(data ?? '')])).toEqual([
      [
        '1',
        'progress',
        {
          ...told,
          kind: 'progress',
          line: 'one\ntwo',
          remark: { code: 'progress', ...about, text: 'app: one\ntwo' },
        },
      ],
      [
        '2',
        'failed',
        {
          ...told,
          kind: 'failed',
          message: 'postgres://u:***@h/d',
          remark: { code: 'turn-failed', ...about, text: 'app: postgres://u:***@h/d' },
        },
      ],
    ])
    await listener.close()
    await ended
  })

  test('lets go who does not read, and keeps who does', { timeout: 180_000 }, async () => {
    const { base, listener } = await start()
    const reader = await listen(base)
    const { host, port } = listener.address
    const lazy = connect({ host, port })
    lazy.on('error', () => undefined)
    lazy.write(`GET /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\n\r\n`)
    await once(lazy, 'readable')
    let isOver = false
    lazy.once('close', () => {
      isOver = true
    })
    const line = 'x'.repeat(300_000)
    let told = 0
    while (!isOver) {
      listener.told({ kind: 'progress', database: 'app', line })
      told++
      // What the kernel has taken has to be read before the end of it is seen.
      if (told === 25) lazy.resume()
      const least = told * line.length
      await waitUntil('the reader has it', () => isOver || reader.text().length > least, { everyMs: 1 })
    }
    expect(told).toBeGreaterThan(1)
    listener.told({ kind: 'progress', database: 'app', line: 'the last one' })
    await waitUntil('the reader has it all', () => reader.text().includes('the last one'))
    expect(reader.text().match(/^event: progress$/gm)).toHaveLength(told + 1)
  })

  test('has room for so many, and again when one goes', async () => {
    const { base, ask } = await start()
    const all = []
    for (let n = 0; n < 20; n++) all.push(await listen(base))
    expect(await ask('/v1/events')).toMatchObject({
      status: 503,
      body: { error: 'too many clients are connected already' },
    })
    all[0]?.stop.abort()
    await waitUntil('there is room', async () => {
      const next = await listen(base)
      if (next.answer.status !== 200) await next.ended
      return next.answer.status === 200
    })
  })
})

describe('the client of the commands', () => {
  const call = (config: Config, rest: object = {}) =>
    callControl(config, {
      method: 'POST',
      path: '/v1/reconcile',
      body: { group: 1 },
      timeoutMs: 5000,
      signal: new AbortController().signal,
      ...rest,
    })

  test('finds the watcher by the same section, with the same token', async () => {
    const { listener, orders } = await start()
    const config = await configOf({ listen: formatAddress(listener.address), token: TOKEN })
    const answer = await call(config)
    expect(answer).toMatchObject({ kind: 'answered', status: 200, body: { outcome: 'changed', exitCode: 0 } })
    expect(orders).toMatchObject([['reconcile', { group: 1 }, {}]])
    expect(await call(config, { method: 'GET', path: '/v1/history', body: null })).toMatchObject({
      status: 200,
    })
    const wrong = await configOf({ connect: `http://${formatAddress(listener.address)}`, token: `${TOKEN}x` })
    expect(await call(wrong)).toEqual({ kind: 'answered', status: 401, body: { error: 'unauthorized' } })
  })

  test('shows its certificate, and asks for the watcher’s', async () => {
    const tls = { ...certificate, clientCa: authority.cert }
    const { listener, lines } = await start({ tls })
    const listen = `localhost:${listener.address.port}`
    const own = await configOf({ listen, tls })
    expect(await call(own)).toMatchObject({ kind: 'answered', status: 200 })
    expect(lines).toEqual(['POST /v1/reconcile from watcher, 127.0.0.1: changed'])
    const other = await foreign.sign('stranger')
    const stranger = await configOf({ connect: { url: `https://${listen}`, ca: authority.cert, ...other } })
    expect(await call(stranger)).toMatchObject({ kind: 'unavailable' })
    const nobody = await configOf({ connect: { url: `https://${listen}`, ca: authority.cert } })
    expect(await call(nobody)).toMatchObject({ kind: 'unavailable' })
    const mistrusting = await configOf({
      connect: { url: `https://${listen}`, ca: foreign.cert, ...certificate },
    })
    expect(await call(mistrusting)).toMatchObject({
      kind: 'unavailable',
      why: expect.stringMatching(/verify|signature|certificate/),
    })
    const plain = await configOf({ connect: `http://${listen}` })
    expect(await call(plain)).toMatchObject({ kind: 'unavailable' })
    expect(lines).toHaveLength(1)
  })

  test('a token is asked for beside the certificate where both are configured', async () => {
    const tls = { ...certificate, clientCa: authority.cert }
    const { listener } = await start({ tls, token: TOKEN })
    const listen = `localhost:${listener.address.port}`
    expect(await call(await configOf({ listen, tls, token: TOKEN }))).toMatchObject({ status: 200 })
    expect(await call(await configOf({ listen, tls }))).toMatchObject({ status: 401 })
  })

  test('where nobody answers says so, at once', async () => {
    const { listener } = await start()
    await listener.close()
    const gone = await configOf({ connect: `http://${formatAddress(listener.address)}`, token: TOKEN })
    const began = performance.now()
    expect(await call(gone)).toMatchObject({
      kind: 'unavailable',
      why: expect.stringContaining('ECONNREFUSED'),
    })
    // An address of no machine (RFC 5737): nothing comes back at all, or that there is no way.
    const far = await configOf({ connect: 'https://192.0.2.1:8009', token: TOKEN })
    expect(await call(far, { timeoutMs: 60_000 })).toMatchObject({ kind: 'unavailable' })
    expect(performance.now() - began).toBeLessThan(30_000)
    const nothing = await loadConfig({ env: {}, coordinators: ['postgres://u@cn1/app'] })
    expect(await call(nothing)).toEqual({
      kind: 'unavailable',
      why: 'the configuration has no "control" section (docs/control.md)',
    })
    const unreadable = await configOf({ tokenFile: '/nonexistent/token' })
    expect(await call(unreadable)).toEqual({ kind: 'unavailable', why: '/nonexistent/token: no such file' })
  })

  test('does not wait for ever, and not after a signal', async () => {
    let asked = 0
    const { listener } = await start(undefined, {
      reconcile: () => {
        asked++
        return new Promise(() => undefined)
      },
    })
    const config = await configOf({ listen: formatAddress(listener.address), token: TOKEN })
    const late = await call(config, { timeoutMs: 400 })
    expect(late).toMatchObject({
      kind: 'unavailable',
      why: expect.stringMatching(/: no answer within 400 ms$/),
    })
    const stop = new AbortController()
    const stopped = call(config, { signal: stop.signal })
    await waitUntil('it has asked', () => asked === 2)
    stop.abort()
    expect(await stopped).toMatchObject({ kind: 'unavailable', why: expect.stringMatching(/: interrupted$/) })
  })
})
