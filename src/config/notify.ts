import { z } from 'zod'
import { duration, example, text, whole } from './scalars.ts'
import { Secret } from './secret.ts'
import type { SecretSource } from './secret-file.ts'

/** Whom a watcher tells of what it sees and does. Durations are milliseconds. */
export interface Notify {
  readonly webhooks: readonly Webhook[]
  readonly slack: readonly Slack[]
  readonly pagerduty: readonly PagerDuty[]
  /** A program and its arguments, run for each event; null: none. */
  readonly command: readonly [string, ...string[]] | null
  /** What the command is told of. */
  readonly events: readonly Notified[]
  /** For one try. */
  readonly timeout: number
  /** What may wait for one target. */
  readonly queue: number
}

export interface Webhook {
  /** A part of it may be a secret: no log shows more than its host. */
  readonly url: Secret
  readonly secret: SecretSource
  readonly events: readonly Notified[]
}

/** An incoming webhook of Slack, or of whoever takes the same. */
export interface Slack {
  /** Whoever has it can write to the channel. */
  readonly url: SecretSource
  readonly events: readonly Notified[]
}

/** An integration of PagerDuty's Events API v2. */
export interface PagerDuty {
  readonly url: string
  readonly routingKey: SecretSource
  readonly events: readonly Notified[]
}

/** Kinds of a watcher's events that can be told to others. */
export const NOTIFIED = ['diagnosed', 'acted', 'held', 'failed', 'leadership', 'coordinator'] as const
export type Notified = (typeof NOTIFIED)[number]

const SHORTEST_SECRET = 16

/** @returns what is wrong with a secret, or null */
export function secretProblem(secret: string): string | null {
  return secret.length < SHORTEST_SECRET ? `expected ${SHORTEST_SECRET} characters or more` : null
}

/** @returns what is wrong with a URL, or null */
export function webAddressProblem(given: string): string | null {
  const { protocol, username, password } = URL.canParse(given) ? new URL(given) : NO_URL
  if (/^https?:$/.test(protocol) && username === '' && password === '') return null
  return 'expected an http: or https: URL without a user in it'
}

const NO_URL = { protocol: '', username: '', password: '' }

/** @returns what is wrong with an integration key, or null */
export function routingKeyProblem(given: string): string | null {
  if (/^[0-9a-zA-Z]{32}$/.test(given)) return null
  return 'expected the 32 letters and digits of an integration key for the Events API v2'
}

const secretOf = (problem: (given: string) => string | null) =>
  z.string().transform((given, context) => {
    const message = problem(given)
    if (message !== null) context.addIssue({ code: 'custom', message })
    return new Secret(given)
  })

const url = secretOf(webAddressProblem)

const events = z.array(z.enum(NOTIFIED)).min(1, 'expected at least one event')

const webhook = z
  .strictObject({
    url: example(url, 'https://alerts.example/x').describe('Where each event is sent, by POST.'),
    secret: secretOf(secretProblem).describe('The secret that signs messages; better in a file.').optional(),
    secretFile: example(text, '/etc/citus-ha/secret').describe('The file that holds the secret.').optional(),
    events: example(events, ['diagnosed', 'acted'])
      .describe('Events that are sent there. Default: notify.events.')
      .optional(),
  })
  .transform(({ secret, secretFile, ...rest }, context) => {
    const why = ': receivers verify messages with it'
    return {
      ...rest,
      secret: sourceOf(secret, secretFile, `expected secret or secretFile, one of them${why}`, context),
    }
  })

const slack = z
  .strictObject({
    url: url.describe('The webhook’s URL, which is a secret; better in a file.').optional(),
    urlFile: example(text, '/etc/citus-ha/slack-url').describe('The file that holds the URL.').optional(),
    events: example(events, ['diagnosed', 'acted'])
      .describe('Events that are sent there. Default: notify.events.')
      .optional(),
  })
  .transform(({ url: given, urlFile, ...rest }, context) => ({
    ...rest,
    url: sourceOf(given, urlFile, 'expected url or urlFile, one of them', context),
  }))

const pagerduty = z
  .strictObject({
    routingKey: secretOf(routingKeyProblem).describe('The integration key; better in a file.').optional(),
    routingKeyFile: example(text, '/etc/citus-ha/pagerduty-key')
      .describe('The file that holds the integration key.')
      .optional(),
    url: z
      .string()
      .refine((given) => webAddressProblem(given) === null, {
        error: 'expected an http: or https: URL without a user in it',
      })
      .describe(
        'The URL to send events to; for the European region https://events.eu.pagerduty.com/v2/enqueue.',
      )
      .prefault('https://events.pagerduty.com/v2/enqueue'),
    events: z
      .array(z.enum(['diagnosed', 'acted']))
      .min(1, 'expected at least one event')
      .describe('What opens and resolves alerts.')
      .prefault(['diagnosed', 'acted']),
  })
  .transform(({ routingKey, routingKeyFile, ...rest }, context) => ({
    ...rest,
    routingKey: sourceOf(
      routingKey,
      routingKeyFile,
      'expected routingKey or routingKeyFile, one of them',
      context,
    ),
  }))

/** One of the two has to be given. */
function sourceOf(
  secret: Secret | undefined,
  file: string | undefined,
  expected: string,
  context: z.RefinementCtx,
): SecretSource {
  if ((secret === undefined) === (file === undefined)) {
    context.addIssue({ code: 'custom', message: `expected ${expected}` })
  }
  return secret ? { kind: 'text', secret } : { kind: 'file', file: file ?? '' }
}

/** `notify:` of the file. */
export const notifySection = z
  .strictObject({
    webhooks: z.array(webhook).max(20).describe('HTTP targets.').prefault([]),
    slack: z.array(slack).max(20).describe('Incoming webhooks of Slack.').prefault([]),
    pagerduty: z.array(pagerduty).max(20).describe('Integrations of PagerDuty (Events API v2).').prefault([]),
    command: example(z.array(text).min(1, 'expected a program'), ['/usr/local/bin/tell', '--loud'])
      .transform(([program = '', ...rest]): [string, ...string[]] => [program, ...rest])
      .describe('A program and its arguments, run for each event.')
      .optional(),
    events: events.describe('Events that are sent.').prefault(['diagnosed', 'acted']),
    timeout: duration.describe('Time limit of one try.').prefault('5s'),
    queue: whole.min(1).max(10_000).describe('How many events may wait for one target.').prefault(100),
  })
  .transform(
    ({ webhooks, slack: channels, command, ...rest }): Notify => ({
      ...rest,
      command: command ?? null,
      webhooks: webhooks.map((each) => ({ ...each, events: each.events ?? rest.events })),
      slack: channels.map((each) => ({ ...each, events: each.events ?? rest.events })),
    }),
  )
