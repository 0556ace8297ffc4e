import { z } from 'zod'
import { parseDuration } from '../../config/duration.ts'
import { messageOf } from '../../config/problems.ts'
import { similarTo } from '../../config/similar.ts'
import { CitusHaError } from '../../model/failure.ts'
import { parseAddress } from '../../model/node.ts'

/** What may be asked, field by field; a field that is not named here is refused. */

const LONGEST_MS = 600_000

const duration = z
  .string()
  .meta({ description: 'Up to ten minutes.', examples: ['200ms', '10s', '5m'] })
  .regex(/^\d{1,9}(\.\d{1,3})?\s?(ms|s|m|h|d)$/, 'expected a duration such as 200ms, 10s or 5m')
  .transform((text, context) => {
    const ms = parseDuration(text)
    if (ms !== null && ms <= LONGEST_MS) return ms
    context.addIssue({ code: 'custom', message: 'expected ten minutes or less' })
    return z.NEVER
  })

const node = z
  .string()
  .meta({ description: 'HOST:PORT as in pg_dist_node.', examples: ['worker-1b.example:5432'] })
  .max(300)
  .transform((text, context) => {
    const address = parseAddress(text)
    if (address) return address
    context.addIssue({ code: 'custom', message: 'expected HOST:PORT, such as worker-1b.example:5432' })
    return z.NEVER
  })

const groupNumber = z.int().min(0).max(999_999_999)
const group = groupNumber.meta({ description: 'Citus’s groupid.' })
const database = z
  .string()
  .min(1, 'expected a name')
  .max(63)
  .meta({ description: 'Default: every database that is watched.' })
const wait = duration.meta({
  description: 'How long to wait for a promotion that is still running. Default: 10s.',
})
const timeout = duration.meta({
  description: 'How long to keep trying while locks or nodes block the change.',
})

const by = z.enum(['person', 'tool']).meta({
  description:
    'Who names the node: a tool (does not override the timeline history) or a person (does). Default: person.',
})

const tool = z
  .string()
  .regex(/^[A-Za-z][\w-]{0,31}$/, 'expected a name such as patroni')
  .meta({
    description: 'The name of the tool, for the record; refused without by: tool.',
    examples: ['patroni'],
  })

interface Word {
  readonly by?: 'person' | 'tool' | undefined
  readonly tool?: string | undefined
}

/** Else a tool's word would count as a person's, above the timelines. */
const isTold = ({ by, tool }: Word): boolean => tool === undefined || by === 'tool'
const told = { path: ['tool'], message: 'only with by: tool' }
/** The same in the JSON Schema. */
const toldSchema = {
  dependentSchemas: { tool: { properties: { by: { const: 'tool' } }, required: ['by'] } },
}

const reconcileFields = z.strictObject({
  database: database.optional(),
  group: group.optional(),
  promoted: node.meta({ description: 'The node that was promoted, HOST:PORT.' }).optional(),
  by: by.optional(),
  tool: tool.optional(),
  wait: wait.optional(),
  timeout: timeout.optional(),
  dryRun: z.boolean().optional(),
})
export const reconcileBody = reconcileFields.refine(isTold, told).meta(toldSchema)

const promotedFields = z.strictObject({
  node,
  database: database.optional(),
  by: by.optional(),
  tool: tool.optional(),
  wait: wait.optional(),
  timeout: timeout.optional(),
})
export const promotedBody = promotedFields.refine(isTold, told).meta(toldSchema)

const ttl = duration
  .refine((ms) => ms > 0, 'expected more than zero')
  .meta({ description: 'The fence ends by itself after this time, whatever happens.' })
export const fenceBody = z.strictObject({ ttl, database: database.optional() })
export const fenceGroupBody = fenceBody.extend({ group })
export const releaseBody = z.strictObject({ database: database.optional() })
export const releaseGroupBody = releaseBody.extend({ group })

const reason = z
  .string()
  .max(500)
  .transform((text) => text.replace(/\s+/g, ' ').trim() || null)
export const pauseBody = z.strictObject({
  database: database.optional(),
  group: group.meta({ description: 'Default: the whole cluster.' }).optional(),
  reason: reason.optional(),
})
export const resumeBody = pauseBody.omit({ reason: true })

export const nothing = z.strictObject({})

/** As in a URL: digits. */
const count = z
  .string()
  .regex(/^[1-9]\d{0,3}$/, 'expected a number from 1 to 9999')
  .transform(Number)
export const historyQuery = z.strictObject({
  database: database.optional(),
  limit: count.meta({ description: 'The maximum number of changes. Default: 20.' }).optional(),
})

export const groupPath = z.strictObject({
  group: z
    .string()
    .regex(/^\d{1,9}$/, 'expected a group id, such as 1')
    .transform(Number)
    .meta({ description: 'Citus’s groupid.', examples: ['1'] }),
})

/**
 * Checks what was sent.
 * @throws CitusHaError with the first thing that is wrong, in one line that shows nothing of what was given
 */
export function read<Schema extends z.ZodObject>(schema: Schema, given: unknown): z.output<Schema> {
  const result = schema.safeParse(given, { reportInput: true })
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new CitusHaError('usage', issue ? lineOf(issue, Object.keys(schema.shape)) : 'invalid value')
}

function lineOf(issue: z.core.$ZodIssue, fields: readonly string[]): string {
  if (issue.code === 'unrecognized_keys') {
    const keys = issue.keys.map((key) => JSON.stringify(key).slice(0, 66)).join(', ')
    const meant = issue.keys.map((key) => similarTo(key, fields)).find((field) => field !== null)
    return `unknown field ${keys}${meant ? `; did you mean "${meant}"?` : ''}`
  }
  return [...issue.path.map(String), messageOf(issue)].join(': ')
}

/** @returns the field that JSON without nested objects has twice: one reader takes the first, another one the last */
export function repeatedField(text: string): string | null {
  const fields = [...text.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?/g)].filter(([, , colon]) => colon)
  const names = fields.map(([, name = '""']) => String(JSON.parse(name)))
  return names.find((name, i) => names.indexOf(name) !== i) ?? null
}
