import { z } from 'zod'
import type { Standing } from '../../model/diagnosis.ts'
import type { Held, Leadership, Noticed, WatchEvent } from '../../watch/event.ts'
import { diagnosisCode, hostPort, oneOf, remark, report } from './answers.ts'

const told = { at: z.string().meta({ description: 'ISO 8601.' }), remark }
const at = { ...told, database: z.string() }
const milliseconds = z.number().nullable()
const lines = z.array(z.string())

/** The data of an event on `/v1/events`, by its kind: what `WatchEvent` says, and when it was told. */
export const eventData = z
  .discriminatedUnion('kind', [
    z.strictObject({
      ...at,
      kind: z.literal('noticed'),
      node: hostPort,
      what: oneOf<Noticed['what']>({
        promoted: 'promoted',
        demoted: 'demoted',
        lost: 'lost',
        back: 'back',
        'receiver-changed': 'receiver-changed',
        changed: 'changed',
      }),
      detail: z.string(),
      ageMs: milliseconds,
    }),
    z.strictObject({
      ...at,
      kind: z.literal('diagnosed'),
      group: z.int(),
      rule: z.string(),
      code: diagnosisCode,
      standing: oneOf<Standing>({
        sound: 'sound',
        proved: 'proved',
        refused: 'refused',
      }),
      summary: z.string(),
      evidence: lines,
      was: diagnosisCode.nullable(),
    }),
    z.strictObject({
      ...told,
      kind: z.literal('acted'),
      report,
      groups: z.array(z.int()),
      stages: z.strictObject({ noticedMs: milliseconds, decidedMs: milliseconds, rightMs: milliseconds }),
      failures: z.int(),
    }),
    z.strictObject({
      ...at,
      kind: z.literal('held'),
      group: z.int(),
      why: oneOf<Held['why']>({
        paused: 'paused',
        cooldown: 'cooldown',
        following: 'following',
        unconfirmed: 'unconfirmed',
        fenced: 'fenced',
      }),
      would: lines,
    }),
    z.strictObject({ ...at, kind: z.literal('failed'), message: z.string() }),
    z.strictObject({
      ...at,
      kind: z.literal('leadership'),
      now: oneOf<Leadership>({
        leading: 'leading',
        following: 'following',
        none: 'none',
      }),
      why: z.string().nullable(),
    }),
    z.strictObject({ ...at, kind: z.literal('coordinator'), node: hostPort.nullable(), why: z.string() }),
    z.strictObject({ ...at, kind: z.literal('database'), now: z.enum(['watched', 'gone']) }),
    z.strictObject({
      ...at,
      kind: z.literal('fence'),
      group: z.int(),
      now: z.enum(['held', 'ended']),
      detail: z.string(),
    }),
    z.strictObject({ ...at, kind: z.literal('progress'), line: z.string() }),
  ])
  .meta({ id: 'Event' }) satisfies z.ZodType<WatchEvent>
