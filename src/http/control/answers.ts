import { z } from 'zod'
import type { DiagnosisCode } from '../../model/diagnosis.ts'
import type { FailureCode } from '../../model/failure.ts'
import type { FenceReport, ReleaseReport } from '../../model/fence.ts'
import type { CopyReport, Outcome, Report } from '../../model/outcome.ts'
import type { RowChange } from '../../model/plan.ts'
import type { Remark } from '../../model/remark.ts'

/** What is answered, field by field: the source of the OpenAPI document. */

export const errorAnswer = z
  .strictObject({
    error: z.string().meta({ description: 'One line for people.' }),
    code: oneOf<FailureCode | 'interrupted'>({
      usage: 'usage',
      configuration: 'configuration',
      'not-installed': 'not-installed',
      'no-coordinator': 'no-coordinator',
      'two-coordinators': 'two-coordinators',
      blocked: 'blocked',
      interrupted: 'interrupted',
    }).optional(),
    exitCode: z.int().meta({ description: 'The exit code of a command that fails in this way.' }).optional(),
  })
  .meta({ id: 'Error' })

const nullableText = z.string().nullable()
const nullableNumber = z.number().nullable()
const lines = z.array(z.string())

/** A word of a closed list: one that is added to the type and not here does not compile. */
export function oneOf<Word extends string>(words: { readonly [Each in Word]: Each }) {
  return z.enum(Object.values(words) as Word[])
}

export const diagnosisCode = oneOf<DiagnosisCode>({
  healthy: 'healthy',
  'old-primary-writes': 'old-primary-writes',
  'read-only': 'read-only',
  'secondary-down': 'secondary-down',
  disabled: 'disabled',
  promoted: 'promoted',
  'no-primary-row': 'no-primary-row',
  'lineage-mismatch': 'lineage-mismatch',
  'lineage-unknown': 'lineage-unknown',
  'less-than-known': 'less-than-known',
  'split-brain': 'split-brain',
  'primary-down': 'primary-down',
  'primary-unknown': 'primary-unknown',
  'primary-alive-elsewhere': 'primary-alive-elsewhere',
  'name-to-follow': 'name-to-follow',
  'primary-in-recovery': 'primary-in-recovery',
  'promotion-running': 'promotion-running',
  unproved: 'unproved',
}).meta({ id: 'DiagnosisCode' })

export const hostPort = z.strictObject({ host: z.string(), port: z.int() }).meta({ id: 'HostPort' })

const blocker = z
  .strictObject({
    node: hostPort,
    pid: z.int(),
    database: nullableText,
    user: nullableText,
    application: nullableText,
    state: nullableText,
    ageMs: nullableNumber,
    statement: nullableText,
    client: z.strictObject({ node: z.string(), pid: z.int() }).nullable(),
    ours: z.boolean(),
  })
  .meta({
    id: 'Blocker',
    description: 'A session, or a prepared transaction (pid 0), that blocked the change.',
  })

const outcome = oneOf<Outcome>({
  converged: 'converged',
  changed: 'changed',
  planned: 'planned',
  refused: 'refused',
  blocked: 'blocked',
  unproved: 'unproved',
})

export const remark = z
  .strictObject({
    code: z.string().meta({ description: 'Stable; listed in docs/codes.md.' }),
    group: z.int().nullable(),
    node: nullableText,
    text: z.string(),
  })
  .meta({ id: 'Remark' }) satisfies z.ZodType<Remark>

export const report = z.strictObject({
  outcome,
  reason: remark,
  remarks: z.array(remark),
  database: z.string(),
  epoch: z.int().nullable(),
  changes: z.array(
    z.strictObject({
      group: z.int(),
      nodeid: z.int(),
      kind: oneOf<RowChange['kind']>({
        'primary-moved': 'primary-moved',
        'secondary-moved': 'secondary-moved',
        remedy: 'remedy',
        'remedy-ended': 'remedy-ended',
        degraded: 'degraded',
        'degraded-ended': 'degraded-ended',
        'reads-moved': 'reads-moved',
        'drift-repaired': 'drift-repaired',
        resync: 'resync',
        registered: 'registered',
      }),
      from: z.string(),
      to: z.string(),
      why: z.string(),
    }),
  ),
  copies: z.array(
    z.strictObject({
      node: z.string(),
      role: z.string(),
      state: oneOf<CopyReport['state']>({
        right: 'right',
        stale: 'stale',
        unreachable: 'unreachable',
        unreadable: 'unreadable',
        'does not follow': 'does not follow',
      }),
      convergedMs: nullableNumber,
      detail: nullableText,
    }),
  ),
  refusals: z.array(
    z.strictObject({
      group: z.int(),
      reason: diagnosisCode,
      rule: z.string(),
      summary: z.string(),
      evidence: lines,
      next: z.string(),
    }),
  ),
  blockers: z.array(blocker),
  ended: z.array(blocker),
  next: nullableText,
  unfenced: lines,
  warnings: lines,
  groups: z.array(
    z.strictObject({ group: z.int(), code: diagnosisCode, rule: z.string(), summary: z.string() }),
  ),
  sql: z.array(z.strictObject({ node: z.string(), statements: lines })),
  timings: z.record(z.string(), z.number()),
  durationMs: z.number(),
}) satisfies z.ZodType<Report>

const exitCode = z.int().meta({
  description:
    'The exit code of the command: 0 up to date, 3 refused, 4 blocked, 5 committed but not verified.',
})
const reportIn = report.extend({ exitCode }).meta({ id: 'Report' })
const failedDatabase = z
  .strictObject({ database: z.string(), error: z.string(), exitCode })
  .meta({ id: 'FailedDatabase', description: 'One of several databases that gave no report.' })
const ran = { exitCode, databases: z.array(z.union([reportIn, failedDatabase])) }
export const reportAnswer = z
  .union([report.extend(ran), z.strictObject(ran)])
  .meta({ id: 'Reports', description: 'As reconcile --json: the worst database’s report, and all of them.' })

const pause = z
  .strictObject({ group: z.int().nullable(), since: z.string(), by: z.string(), why: nullableText })
  .meta({ id: 'Pause' })
export const pausedAnswer = z
  .strictObject({
    databases: z.array(
      z.strictObject({
        database: z.string(),
        group: z.int().nullable(),
        changed: z.boolean(),
        pause: pause.nullable(),
        pauses: z.array(pause),
      }),
    ),
  })
  .meta({ id: 'Paused', description: 'As pause --json and resume --json.' })

export const historyAnswer = z
  .strictObject({
    changes: z.array(
      z.strictObject({
        database: z.string(),
        timeline: z.int(),
        epoch: z.int(),
        gids: lines,
        groups: z.array(z.int()),
        reason: z.string(),
        evidence: z.unknown(),
        before: z.unknown(),
        after: z.unknown(),
        madeBy: z.string(),
        decidedAt: z.string(),
      }),
    ),
  })
  .meta({ id: 'History', description: 'As history --json.' })

const fenceReport = z.strictObject({
  outcome: oneOf<FenceReport['outcome']>({ fenced: 'fenced', renewed: 'renewed', blocked: 'blocked' }),
  database: z.string(),
  groups: z.array(z.int()),
  until: nullableText,
  fenced: lines,
  unfenced: z.array(z.strictObject({ node: z.string(), why: z.string() })),
  blockers: z.array(blocker),
  ended: z.array(blocker),
  warnings: lines,
  durationMs: z.number(),
}) satisfies z.ZodType<FenceReport>
export const fenceAnswer = fenceReport
  .extend({ exitCode, databases: z.array(fenceReport) })
  .meta({ id: 'Fence', description: 'As fence --json.' })

const releaseReport = z.strictObject({
  database: z.string(),
  group: z.int(),
  released: z.boolean(),
  heldMs: nullableNumber,
}) satisfies z.ZodType<ReleaseReport>
export const releaseAnswer = releaseReport
  .extend({ exitCode, databases: z.array(releaseReport) })
  .meta({ id: 'Release', description: 'As release --json.' })

export const openApiAnswer = z.looseObject({ openapi: z.string() }).meta({ id: 'OpenApi' })
