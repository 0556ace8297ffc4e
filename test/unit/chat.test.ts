import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { loadConfig } from '../../src/config/load.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { Notifier } from '../../src/notify/notifier.ts'
import type { WatchEvent } from '../../src/watch/event.ts'
import { Receiver } from '../support/receiver.ts'
import { acted, diagnosed, report } from '../support/watch-state.ts'

const KEY = '0123456789abcdef0123456789abcdef'

/** Slack: "Sending messages using incoming webhooks", and the reference of its blocks. */
const plainText = z.strictObject({
  type: z.literal('plain_text'),
  text: z.string().min(1).max(3000),
  emoji: z.boolean(),
})
const slackSchema = z.strictObject({
  text: z.string().min(1).max(40_000),
  blocks: z
    .array(
      z.discriminatedUnion('type', [
        z.strictObject({ type: z.literal('section'), text: plainText }),
        z.strictObject({ type: z.literal('context'), elements: z.array(plainText).min(1).max(10) }),
      ]),
    )
    .max(50),
})

/** PagerDuty: Events API v2, "Send an alert event". */
const common = { routing_key: z.literal(KEY), dedup_key: z.string().min(1).max(255) }
const pagerDutySchema = z.discriminatedUnion('event_action', [
  z.strictObject({
    ...common,
    event_action: z.literal('trigger'),
    client: z.string(),
    payload: z.strictObject({
      summary: z.string().min(1).max(1024),
      source: z.string().min(1),
      severity: z.enum(['critical', 'error', 'warning', 'info']),
      timestamp: z.iso.datetime(),
      component: z.string(),
      group: z.string(),
      class: z.string(),
      custom_details: z.record(z.string(), z.unknown()),
    }),
  }),
  z.strictObject({ ...common, event_action: z.literal('resolve') }),
])

let directory: string
let receiver: Receiver
const open: Notifier[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'citus-ha-chat-'))
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

async function configOf(notify: object) {
  const yaml = JSON.stringify({ coordinators: [{ url: 'postgres://u@cn1/app' }], notify })
  const { notify: given } = await loadConfig({ file: 'citus-ha.yaml', env: {}, readFile: async () => yaml })
  if (!given) throw new Error('nobody is told')
  return given
}

/** Tells of these events, and waits until nothing is left to be sent. */
async function tell(
  notify: object,
  ...events: WatchEvent[]
): Promise<{ notifier: Notifier; problems: string[] }> {
  const problems: string[] = []
  const problem = (line: string) => problems.push(line)
  const notifier = new Notifier({ notify: await configOf(notify), env: {}, problem, firstRetryMs: 20 })
  open.push(notifier)
  for (const event of events) notifier.told(event)
  await waitUntil('nothing waits', () => notifier.states.every(({ queued }) => queued === 0))
  return { notifier, problems }
}

const secretFile = async (text: string): Promise<string> => {
  const path = join(directory, `${Math.random()}`)
  await writeFile(path, `${text}\n`)
  return path
}

const broken = diagnosed({ code: 'split-brain', rule: 'D041', standing: 'refused', was: 'healthy' })
const well = diagnosed({ code: 'healthy', was: 'split-brain' })
const blocked = acted({ report: report({ outcome: 'blocked', epoch: null }), failures: 1 })

describe('Slack', () => {
  const slack = async (rest: object = {}) => ({
    slack: [{ urlFile: await secretFile(`${receiver.url}/services/T0/B0/hunter2`), ...rest }],
  })

  test('gets what its incoming webhooks take, and nothing else', async () => {
    const { notifier, problems } = await tell(await slack(), broken, blocked, acted(), well)
    expect(problems).toEqual([])
    const messages = receiver.received.map(({ body }) => slackSchema.parse(JSON.parse(body)))
    expect(messages.map(({ text }) => text)).toEqual([
      'app: group 1 is split-brain (D041): w1a:5432 is the primary',
      expect.stringMatching(/^app: group 1: blocked/),
      expect.stringMatching(/^app: group 1: changed/),
      'app: group 1 is healthy (D050): w1a:5432 is the primary',
    ])
    const marks = messages.map(({ blocks: [first] }) => (first?.type === 'section' ? first.text.text : ''))
    expect(marks.map((text) => text.split(' ')[0])).toEqual([
      ':red_circle:',
      ':red_circle:',
      ':large_green_circle:',
      ':large_green_circle:',
    ])
    for (const { path, headers } of receiver.received) {
      expect(path).toBe('/services/T0/B0/hunter2')
      expect(headers).toMatchObject({ 'content-type': 'application/json' })
      expect(Object.keys(headers).filter((name) => name.startsWith('x-'))).toEqual([])
    }
    expect(notifier.states).toMatchObject([{ name: 'slack 1', sent: 4, failed: 0 }])
  })

  test('is not made to call everybody by a name, nor refuses what is long', async () => {
    const summary = `<!channel> & ${'x'.repeat(5000)}`
    await tell(await slack(), diagnosed({ ...broken, summary }))
    const { text } = slackSchema.parse(JSON.parse(receiver.received[0]?.body ?? ''))
    expect(text).toContain('&lt;!channel&gt; &amp; xxx')
  })

  test('is tried again when it is broken, not when it refuses, and its URL is never shown', async () => {
    const replies = [500, 'break', 200, 403] as const
    receiver.reply = () => replies[receiver.received.length - 1] ?? 200
    const { notifier, problems } = await tell(await slack(), broken, well)
    expect(receiver.received).toHaveLength(4)
    expect(notifier.states).toMatchObject([{ sent: 1, failed: 1 }])
    expect(problems).toEqual([
      expect.stringMatching(/^slack 1 did not receive diagnosed \S+: HTTP status 403$/),
    ])
  })

  test('whose file is missing, or holds no URL, is named without what is in it', async () => {
    for (const file of [join(directory, 'missing'), await secretFile('hunter2')]) {
      const { problems } = await tell({ slack: [{ urlFile: file }] }, broken)
      expect(problems.join()).toMatch(/no such file|expected an http: or https: URL/)
      expect(problems.join()).not.toContain('hunter2')
    }
  })
})

describe('PagerDuty', () => {
  const pagerduty = async () => ({
    pagerduty: [{ routingKeyFile: await secretFile(KEY), url: `${receiver.url}/v2/enqueue` }],
  })
  const events = () => receiver.received.map(({ body }) => pagerDutySchema.parse(JSON.parse(body)))

  test('opens an alert for a group, and resolves the same one', async () => {
    receiver.reply = () => 202
    const { notifier, problems } = await tell(await pagerduty(), broken, well)
    expect(problems).toEqual([])
    expect(receiver.received.map(({ path }) => path)).toEqual(['/v2/enqueue', '/v2/enqueue'])
    const dedup_key = 'citus-ha app group 1'
    expect(events()).toMatchObject([
      {
        event_action: 'trigger',
        dedup_key,
        payload: {
          summary: 'app: group 1 is split-brain (D041): w1a:5432 is the primary',
          severity: 'critical',
          class: 'split-brain',
          group: 'app',
          custom_details: { event: 'diagnosed', group: 1, rule: 'D041' },
        },
      },
      { event_action: 'resolve', dedup_key },
    ])
    expect(notifier.states).toMatchObject([{ name: 'pagerduty 1', sent: 2, failed: 0 }])
  })

  test('has an alert of its own for changes that fail', async () => {
    await tell(await pagerduty(), blocked, acted())
    const dedup_key = 'citus-ha app changes'
    expect(events()).toMatchObject([
      { event_action: 'trigger', dedup_key, payload: { severity: 'critical' } },
      { event_action: 'resolve', dedup_key },
    ])
  })

  test('wakes nobody for a promotion that is followed without him', async () => {
    const promoted = diagnosed({ code: 'promoted', standing: 'proved', was: 'healthy' })
    const away = diagnosed({ code: 'secondary-down', was: 'promoted' })
    await tell(await pagerduty(), promoted, away)
    expect(events()).toMatchObject([{ event_action: 'trigger', payload: { severity: 'warning' } }])
  })

  test('is tried again after 429 and 5xx with the same key, and not after 400', async () => {
    const replies = [429, 502, 202, 400] as const
    receiver.reply = () => replies[receiver.received.length - 1] ?? 202
    const { notifier, problems } = await tell(await pagerduty(), broken, well)
    expect(events().map(({ event_action }) => event_action)).toEqual([
      'trigger',
      'trigger',
      'trigger',
      'resolve',
    ])
    expect(notifier.states).toMatchObject([{ sent: 1, failed: 1 }])
    expect(problems.join()).not.toContain(KEY)
  })
})

describe('their configuration', () => {
  test.each([
    [{ slack: [{}] }, 'expected url or urlFile, one of them'],
    [{ slack: [{ url: 'https://h/x', urlFile: 'f' }] }, 'expected url or urlFile, one of them'],
    [{ slack: [{ url: 'hooks.slack.com/hunter2' }] }, 'expected an http: or https: URL'],
    [{ pagerduty: [{}] }, 'expected routingKey or routingKeyFile, one of them'],
    [{ pagerduty: [{ routingKey: 'hunter2' }] }, 'expected the 32 letters and digits of an integration key'],
    [{ pagerduty: [{ routingKey: KEY, events: ['leadership'] }] }, 'diagnosed'],
  ])('%j is refused', async (notify, why) => {
    const error = await configOf(notify).catch((thrown: Error) => thrown)
    expect(error).toBeInstanceOf(Error)
    expect(String(error)).toContain(why)
    expect(String(error)).not.toContain('hunter2')
  })

  test('shows no secret, and goes to the place that PagerDuty documents', async () => {
    const notify = await configOf({
      slack: [{ url: 'https://hooks.slack.com/services/hunter2' }],
      pagerduty: [{ routingKey: KEY }],
    })
    expect(JSON.stringify(notify)).not.toMatch(/hunter2|0123456789abcdef/)
    expect(notify.pagerduty[0]?.url).toBe('https://events.pagerduty.com/v2/enqueue')
    expect(notify.slack[0]?.events).toEqual(['diagnosed', 'acted'])
  })
})
