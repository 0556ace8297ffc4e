import { createHmac } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { Notifier } from '../../src/notify/notifier.ts'
import { Selection } from '../../src/notify/selection.ts'
import type { Diagnosed, WatchEvent } from '../../src/watch/event.ts'
import { collectGarbage } from '../support/garbage.ts'
import { Receiver } from '../support/receiver.ts'
import { acted } from '../support/watch-state.ts'

const SECRET = 'a-secret-of-enough-characters'
let directory: string
let receiver: Receiver
const open: Notifier[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'citus-ha-notify-'))
})
afterAll(async () => {
  await rm(directory, { recursive: true, force: true })
})
beforeEach(async () => {
  receiver = await Receiver.start()
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((notifier) => notifier.stop()))
  await receiver.stop()
})

function diagnosed(
  group: number,
  code: Diagnosed['code'] = 'promoted',
  was: Diagnosed['was'] = 'healthy',
): Diagnosed {
  const standing = code === 'split-brain' ? 'refused' : 'proved'
  const summary = `it is ${code}`
  return {
    kind: 'diagnosed',
    database: 'app',
    group,
    rule: 'D063',
    code,
    standing,
    summary,
    evidence: ['seen'],
    was,
  }
}

function leadership(now: 'leading' | 'following' | 'none'): WatchEvent {
  return { kind: 'leadership', database: 'app', now, why: null }
}

async function start(notify: object, firstRetryMs = 20) {
  const yaml = JSON.stringify({ coordinators: [{ url: 'postgres://u@cn1/app' }], notify })
  const config = await loadConfig({ file: 'citus-ha.yaml', env: {}, readFile: async () => yaml })
  if (!config.notify) throw new Error('nobody is told')
  const problems: string[] = []
  const env = { PATH: process.env.PATH }
  const problem = (line: string) => problems.push(line)
  const notifier = new Notifier({ notify: config.notify, env, problem, firstRetryMs })
  open.push(notifier)
  const tell = (...groups: number[]) => {
    for (const group of groups) notifier.told(diagnosed(group))
  }
  return { notifier, problems, tell }
}

const hook = (rest: object = {}) => ({ url: `${receiver.url}/hook?key=hunter2`, secret: SECRET, ...rest })
const settled = (notifier: Notifier) =>
  waitUntil('nothing waits', () => notifier.states.every(({ queued }) => queued === 0))

describe('a webhook', () => {
  test('is told of a diagnosis and of an outcome: JSON, signed, with an id of its own', async () => {
    const { notifier } = await start({ webhooks: [hook()] })
    notifier.told(diagnosed(1))
    notifier.told(acted())
    notifier.told({ kind: 'progress', database: 'app', line: 'of no interest' })
    await waitUntil('both came', () => receiver.received.length === 2)
    const [first, second] = receiver.received
    expect(first).toMatchObject({
      path: '/hook?key=hunter2',
      headers: { 'content-type': 'application/json' },
    })
    expect(receiver.documents).toMatchObject([
      {
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        at: expect.stringMatching(/Z$/),
        instance: expect.stringMatching(new RegExp(`:${process.pid}$`)),
        event: 'diagnosed',
        text: 'app: group 1 is promoted (D063): it is promoted',
        data: { database: 'app', group: 1, code: 'promoted', was: 'healthy', evidence: ['seen'] },
      },
      { event: 'acted', data: { report: { outcome: 'changed' } } },
    ])
    expect(receiver.documents[0]?.id).not.toBe(receiver.documents[1]?.id)
    for (const each of [first, second]) {
      const [, seconds, given] =
        /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(each?.headers['x-citus-ha-signature'])) ?? []
      expect(given).toBe(createHmac('sha256', SECRET).update(`${seconds}.${each?.body}`).digest('hex'))
      expect(Math.abs(Date.now() / 1000 - Number(seconds))).toBeLessThan(10)
      expect(each?.headers['x-citus-ha-delivery']).toBe(JSON.parse(each?.body ?? '').id)
      expect(each?.headers['x-citus-ha-event']).toBe(JSON.parse(each?.body ?? '').event)
    }
    await settled(notifier)
    const name = `webhook 1 (${new URL(receiver.url).host})`
    expect(notifier.states).toEqual([{ name, sent: 2, failed: 0, dropped: 0, queued: 0 }])
  })

  test.each([503, 429, 'break', 'hang'] as const)(
    'that answers %s at first is tried again, with the same id, in order',
    async (wrong) => {
      // What it answers well has to come within the limit, on a busy machine too.
      const times = wrong === 'hang' ? 1 : 3
      let broken = times
      receiver.reply = () => (broken-- > 0 ? wrong : 200)
      const { notifier, tell, problems } = await start({
        webhooks: [hook()],
        timeout: wrong === 'hang' ? '3s' : '30s',
      })
      tell(1, 2, 3)
      await settled(notifier)
      expect(receiver.documents.map(({ data }) => data.group)).toEqual([...Array(times).fill(1), 1, 2, 3])
      expect(new Set(receiver.documents.map(({ id }) => id)).size).toBe(3)
      expect(notifier.states).toMatchObject([{ sent: 3, failed: 0, dropped: 0 }])
      expect(problems).toEqual([])
    },
  )

  test('that never answers well is given up after six tries that are further and further apart', async () => {
    receiver.reply = ({ body }) => (JSON.parse(body).data.group === 1 ? 500 : 200)
    const { notifier, tell, problems } = await start({ webhooks: [hook()] }, 40)
    tell(1, 2)
    await settled(notifier)
    expect(receiver.documents.map(({ data }) => data.group)).toEqual([1, 1, 1, 1, 1, 1, 2])
    const times = receiver.received.map(({ at }) => at)
    const last = (times[5] ?? 0) - (times[4] ?? 0)
    expect(last).toBeGreaterThan(16 * 40 * 0.75 - 5)
    expect(notifier.states).toMatchObject([{ sent: 1, failed: 1 }])
    expect(problems).toEqual([
      expect.stringMatching(
        /^webhook 1 \(127\.0\.0\.1:\d+\) did not receive diagnosed \S+: HTTP status 500$/,
      ),
    ])
  })

  test('that says when to come again is not asked before', async () => {
    let first = true
    receiver.reply = () => {
      if (!first) return 200
      first = false
      return { status: 429, headers: { 'retry-after': '1' } }
    }
    const { notifier, tell } = await start({ webhooks: [hook()] })
    tell(1)
    await settled(notifier)
    const [one, two] = receiver.received
    expect((two?.at ?? 0) - (one?.at ?? 0)).toBeGreaterThan(990)
  })

  test.each([400, 401, 404, 410, 422])('that answers %i is not asked again', async (status) => {
    receiver.reply = () => status
    const { notifier, tell, problems } = await start({ webhooks: [hook()] })
    tell(1)
    await settled(notifier)
    expect(receiver.received).toHaveLength(1)
    expect(notifier.states).toMatchObject([{ sent: 0, failed: 1 }])
    expect(problems.join()).toContain(`HTTP status ${status}`)
    expect(problems.join()).not.toContain('hunter2')
  })

  test('that sends us elsewhere is not followed', async () => {
    const elsewhere = await Receiver.start()
    try {
      receiver.reply = () => ({ status: 307, headers: { location: elsewhere.url } })
      const { notifier, tell } = await start({ webhooks: [hook()] })
      tell(1)
      await settled(notifier)
      expect(elsewhere.received).toEqual([])
      expect(notifier.states).toMatchObject([{ sent: 0, failed: 1 }])
    } finally {
      await elsewhere.stop()
    }
  })

  test('that hangs keeps neither us nor another one; of what waits the oldest is dropped, and counted', async () => {
    const other = await Receiver.start()
    try {
      receiver.reply = () => 'hang'
      const webhooks = [hook(), { url: other.url, secret: SECRET }]
      const { notifier, tell, problems } = await start({ webhooks, timeout: '30s', queue: 3 })
      tell(1)
      await waitUntil('it is asked', () => receiver.received.length === 1)
      tell(2, 3, 4, 5, 6)
      await waitUntil('the other one has all', () => other.received.length >= 4)
      expect(notifier.states).toMatchObject([
        { sent: 0, dropped: 2, queued: 4 },
        { dropped: expect.any(Number) },
      ])
      expect(problems.filter((line) => line.includes(new URL(receiver.url).host))).toEqual([
        expect.stringMatching(/^more than 3 notifications wait for webhook 1 .*: the oldest are dropped$/),
      ])
      receiver.reply = () => 200
      await receiver.stop()
      receiver = await Receiver.start()
    } finally {
      await other.stop()
    }
  })

  test('has the secret of a file as it is now, and its own choice of events', async () => {
    const secretFile = join(directory, 'secret')
    await writeFile(secretFile, `${SECRET}\n`)
    const { notifier, tell } = await start({
      webhooks: [hook({ secret: undefined, secretFile, events: ['leadership'] })],
      events: ['acted'],
    })
    tell(1)
    notifier.told(acted())
    notifier.told(leadership('leading'))
    await waitUntil('it came', () => receiver.received.length === 1)
    expect(receiver.documents).toMatchObject([{ event: 'leadership', text: 'app: this instance is leading' }])
    await writeFile(secretFile, 'another-secret-of-enough-characters')
    notifier.told(leadership('none'))
    await waitUntil('the next came', () => receiver.received.length === 2)
    const [, second] = receiver.received
    const [, seconds, given] =
      /^t=(\d+),v1=(\w+)$/.exec(String(second?.headers['x-citus-ha-signature'])) ?? []
    const hmac = createHmac('sha256', 'another-secret-of-enough-characters')
    expect(given).toBe(hmac.update(`${seconds}.${second?.body}`).digest('hex'))
  })

  test('gets what waits at the end, for two seconds; the rest is dropped', async () => {
    const { notifier, tell } = await start({ webhooks: [hook()] })
    tell(1, 2, 3)
    await notifier.stop()
    expect(receiver.received).toHaveLength(3)
    tell(4)
    expect(notifier.states).toMatchObject([{ sent: 3, queued: 0 }])

    receiver.reply = () => 'hang'
    const late = await start({ webhooks: [hook()], timeout: '30s' })
    late.tell(1, 2)
    const began = performance.now()
    await late.notifier.stop()
    expect(performance.now() - began).toBeGreaterThan(1900)
    expect(performance.now() - began).toBeLessThan(20_000)
    expect(late.notifier.states).toMatchObject([{ sent: 0, dropped: 2, queued: 0 }])
    expect(late.problems).toEqual([
      expect.stringMatching(/^2 notifications to webhook 1 .* are dropped at shutdown$/),
    ])
  })

  test('is shown no password', async () => {
    const { notifier } = await start({ webhooks: [hook({ events: ['failed'] })] })
    notifier.told({ kind: 'failed', database: 'app', message: 'postgres://u:hunter2@cn1/app broke\n at x' })
    await waitUntil('it came', () => receiver.received.length === 1)
    expect(receiver.received[0]?.body).not.toContain('hunter2')
    expect(receiver.documents).toMatchObject([{ text: 'app: postgres://u:***@cn1/app broke' }])
  })
})

describe('a command', () => {
  /** Writes down what it is given, then does as it is told. */
  async function script(rest: string): Promise<{ argv: string[]; said: () => Promise<string> }> {
    const out = join(directory, `out-${Math.random()}`)
    const file = join(directory, `run-${Math.random()}.sh`)
    await writeFile(file, `#!/bin/sh\n{ echo "$CITUS_HA_EVENT $1"; cat; echo; } >> '${out}'\n${rest}\n`, {
      mode: 0o755,
    })
    return { argv: [file, '$(touch x); `id`'], said: async () => await readFile(out, 'utf8').catch(() => '') }
  }

  test('gets the JSON on stdin, the event in its environment, its arguments untouched by any shell', async () => {
    const { argv, said } = await script('exit 0')
    const { notifier, tell } = await start({ command: argv })
    tell(1, 2)
    await settled(notifier)
    const lines = (await said()).trim().split('\n')
    expect(lines.filter((_, n) => n % 2 === 0)).toEqual(Array(2).fill('diagnosed $(touch x); `id`'))
    expect(lines.filter((_, n) => n % 2 === 1).map((line) => JSON.parse(line).data.group)).toEqual([1, 2])
    expect(notifier.states).toEqual([{ name: 'command', sent: 2, failed: 0, dropped: 0, queued: 0 }])
  })

  test.each([
    ['fails', 'echo oops >&2; exit 3', '30s', /^command did not receive diagnosed \S+: ended with 3: oops$/],
    ['is killed', 'kill -9 $$', '30s', /: ended with SIGKILL$/],
    ['does not end', 'sleep 60', '300ms', /: no end within 300 ms$/],
    ['has a child that does not end', 'sleep 61 & wait', '300ms', /: no end within 300 ms$/],
  ])('that %s is not run again, and is told of', async (_, rest, timeout, expected) => {
    const { argv } = await script(rest)
    const { notifier, tell, problems } = await start({ command: argv, timeout })
    tell(1)
    await settled(notifier)
    expect(notifier.states).toMatchObject([{ sent: 0, failed: 1 }])
    expect(problems).toEqual([expect.stringMatching(expected)])
  })

  test('that is not there, or reads nothing', async () => {
    const missing = await start({ command: ['/nonexistent/program'] })
    missing.tell(1)
    await settled(missing.notifier)
    expect(missing.problems).toEqual([
      expect.stringMatching(/: \/nonexistent\/program cannot be run: ENOENT$/),
    ])
    const deaf = await start({ command: ['true'] })
    deaf.tell(1, 2, 3)
    await settled(deaf.notifier)
    expect(deaf.notifier.states).toMatchObject([{ sent: 3, failed: 0 }])
  })
})

// Node holds the signals of `AbortSignal.any` and `AbortSignal.timeout` weakly: together they never came.
describe('the limit of one that hangs outlives garbage collections', () => {
  test.each(['command', 'webhook'] as const)('%s', async (kind) => {
    receiver.reply = () => 'hang'
    const command = ['/bin/sh', '-c', 'sleep 62']
    const target = kind === 'command' ? { command } : { webhooks: [hook()] }
    const { notifier, tell, problems } = await start({ ...target, timeout: '200ms' }, 1)
    tell(1)
    await waitUntil('it is given up', () => {
      collectGarbage()
      return notifier.states.every(({ failed }) => failed === 1)
    })
    expect(problems).toEqual([expect.stringMatching(/: no (end|answer) within 200 ms$/)])
  })
})

describe('what is told', () => {
  const kinds = (selection: Selection, ...events: WatchEvent[]) =>
    events.flatMap((event) =>
      selection
        .of(event)
        .map((each) => (each.kind === 'diagnosed' ? `${each.group} ${each.code}` : each.kind)),
    )

  test('a group that is well at first is no news; one that is not is', () => {
    const told = kinds(
      new Selection(),
      diagnosed(1, 'healthy', null),
      diagnosed(2, 'split-brain', null),
      diagnosed(2, 'healthy', 'split-brain'),
    )
    expect(told).toEqual(['2 split-brain', '2 healthy'])
  })

  test('a failure once, and its end', () => {
    const told = [1, 2, 3, 0].flatMap((failures) =>
      new Selection().of(acted({ failures })).map(() => failures),
    )
    expect(told).toEqual([1, 0])
  })

  test('one that follows is silent, and tells what it did not when it leads', () => {
    const selection = new Selection()
    const seen = kinds(
      selection,
      leadership('following'),
      diagnosed(1, 'split-brain'),
      diagnosed(2, 'promoted'),
      diagnosed(2, 'healthy', 'promoted'),
      { kind: 'held', database: 'app', group: 1, why: 'following', would: [] },
      { kind: 'failed', database: 'app', message: 'no' },
    )
    expect(seen).toEqual(['leadership'])
    expect(kinds(selection, leadership('leading'))).toEqual(['leadership', '1 split-brain'])
    expect(kinds(selection, leadership('none'), leadership('leading'))).toEqual(['leadership', 'leadership'])
    expect(kinds(selection, diagnosed(2))).toEqual(['2 promoted'])
  })

  test('what others are not to know is not among it', () => {
    const rest: WatchEvent[] = [
      { kind: 'database', database: 'app', now: 'watched' },
      { kind: 'progress', database: 'app', line: 'x' },
    ]
    expect(kinds(new Selection(), ...rest)).toEqual([])
  })
})
