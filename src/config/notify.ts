import { z } from 'zod'
import { duration, text, whole } from './scalars.ts'
import { Secret } from './secret.ts'
import type { SecretSource } from './secret-file.ts'

/** Whom a watcher tells of what it sees and does. Durations are milliseconds. */
export interface Notify {
  readonly webhooks: readonly Webhook[]
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

/** Kinds of a watcher's events that can be told to others. */
export const NOTIFIED = ['diagnosed', 'acted', 'held', 'failed', 'leadership', 'coordinator'] as const
export type Notified = (typeof NOTIFIED)[number]

const SHORTEST_SECRET = 16

/** @returns what is wrong with a secret, or null */
export function secretProblem(secret: string): string | null {
  return secret.length < SHORTEST_SECRET ? `expected ${SHORTEST_SECRET} characters or more` : null
}

const secretText = z.string().transform((given, context) => {
  const message = secretProblem(given)
  if (message !== null) context.addIssue({ code: 'custom', message })
  return new Secret(given)
})

const url = z.string().transform((given, context) => {
  if (!isWebAddress(given)) {
    context.addIssue({ code: 'custom', message: 'expected an http: or https: URL without a user in it' })
  }
  return new Secret(given)
})

function isWebAddress(given: string): boolean {
  if (!URL.canParse(given)) return false
  const { protocol, username, password } = new URL(given)
  return /^https?:$/.test(protocol) && username === '' && password === ''
}

const events = z.array(z.enum(NOTIFIED)).min(1, 'expected at least one event')

const webhook = z
  .strictObject({
    url: url.describe('Where each event is sent, by POST.'),
    secret: secretText.describe('What messages are signed with; better in a file.').optional(),
    secretFile: text.describe('The file that holds the secret.').optional(),
    events: events.describe('What it is told of. Default: notify.events.').optional(),
  })
  .transform(({ secret, secretFile, ...rest }, context) => {
    if ((secret === undefined) === (secretFile === undefined)) {
      const message =
        'expected secret or secretFile, one of them: receivers know by it that a message is ours'
      context.addIssue({ code: 'custom', message })
    }
    const source: SecretSource = secret ? { kind: 'text', secret } : { kind: 'file', file: secretFile ?? '' }
    return { ...rest, secret: source }
  })

/** `notify:` of the file. */
export const notifySection = z
  .strictObject({
    webhooks: z.array(webhook).max(20).describe('HTTP targets.').prefault([]),
    command: z
      .array(text)
      .min(1, 'expected a program')
      .transform(([program = '', ...rest]): [string, ...string[]] => [program, ...rest])
      .describe('A program and its arguments, run for each event.')
      .optional(),
    events: events.describe('What is told.').prefault(['diagnosed', 'acted']),
    timeout: duration.describe('For one try.').prefault('5s'),
    queue: whole.min(1).max(10_000).describe('How many events may wait for one target.').prefault(100),
  })
  .transform(
    ({ webhooks, command, ...rest }): Notify => ({
      ...rest,
      command: command ?? null,
      webhooks: webhooks.map((each) => ({ ...each, events: each.events ?? rest.events })),
    }),
  )
