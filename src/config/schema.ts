import { z } from 'zod'
import { formatAddress, type HostPort, parseAddress } from '../model/node.ts'
import type { ListedStandby } from '../model/plan.ts'
import { type Candidate, type ConnectionSettings, SSL_MODES } from './connection.ts'
import { type Control, controlSection } from './control.ts'
import { parseDuration } from './duration.ts'
import { LOG_LEVELS, type LogLevel } from './log-level.ts'
import { type Notify, notifySection } from './notify.ts'
import {
  address,
  DURATION,
  duration,
  expected,
  listener,
  optionalDuration,
  size,
  text,
  whole,
} from './scalars.ts'
import { Secret } from './secret.ts'
import { type Environment, parseUrl, UrlError } from './url.ts'

/** How a registered name is reached from here, and under which other name its primary may serve reads. */
interface AddressRule {
  readonly connect: HostPort | null
  readonly alias: HostPort | null
}

/** The whole configuration, all defaults filled in. Durations are milliseconds, sizes bytes. */
export interface Config {
  /** Used in gids, metrics and logs; null: derived from the system identifier. */
  readonly cluster: string | null
  /** null: every database that has Citus. */
  readonly databases: readonly string[] | null
  /** At least one; which of them is the coordinator is found out. */
  readonly coordinators: readonly Candidate[]
  /** For every node that no URL names: the file's `connection`, under what the first URL says. */
  readonly connection: ConnectionSettings
  /** Servers that `pg_dist_node` need not name. */
  readonly standbys: readonly ListedStandby[]
  /** Whether those of them that stream from their group's primary get a row of their own. */
  readonly register: boolean
  /** By `formatAddress` of the registered address. */
  readonly addresses: ReadonlyMap<string, AddressRule>
  readonly detect: Detect
  readonly apply: Apply
  readonly routing: Routing
  readonly integrations: Integrations
  /** Where `watch` answers over HTTP; null: nowhere. */
  readonly http: { readonly listen: HostPort } | null
  /** Where `watch` takes orders, and where other commands find it; null: nowhere. */
  readonly control: Control | null
  /** Whom `watch` tells of what it sees and does; null: nobody. */
  readonly notify: Notify | null
  readonly log: { readonly level: LogLevel }
  /** Whether what clients were running is told in logs, notices, events and answers, too; else on terminals alone. */
  readonly discloseStatements: boolean
}

interface Detect {
  /** Between two surveys. */
  readonly interval: number
  /** For one probe. */
  readonly timeout: number
  /** So many surveys in a row must show a primary down. */
  readonly confirm: number
  /** A standby that heard from the primary more recently is a witness that it lives. */
  readonly witnessFreshness: number
  /** Between two changes of one group. */
  readonly cooldown: number
}

interface Apply {
  readonly lockTimeout: number
  /** For the whole change, waiting for locks included. */
  readonly deadline: number
  /** How long the decision waits for synchronous replication. */
  readonly decisionWait: number
  /** After how long blockers are ended; `never` leaves them alone. */
  readonly force: 'never' | number
}

interface Integrations {
  /** Nodes as tools call them (a name, an id, an address of theirs), by their registered addresses. */
  readonly nodes: ReadonlyMap<string, HostPort>
}

interface Routing {
  readonly secondaryDown: 'auto' | 'deactivate' | 'leave'
  readonly primaryDown: 'leave' | 'secondary'
  /** Bytes of WAL a secondary may be behind. */
  readonly maxLag: number
}

/** Where HTTP is answered once it is asked for: on this machine only. */
export const DEFAULT_LISTENER = '127.0.0.1:8008'

const connection = z
  .strictObject({
    user: text.optional(),
    password: z
      .string()
      .transform((password) => new Secret(password))
      .optional(),
    passfile: text.optional(),
    sslmode: z.enum(SSL_MODES).optional(),
    sslrootcert: text.optional(),
    sslcert: text.optional(),
    sslkey: text.optional(),
    connectTimeout: duration.optional(),
    options: text.optional(),
  })
  .transform(
    ({ connectTimeout, ...rest }): ConnectionSettings =>
      present({ ...rest, connectTimeoutMs: connectTimeout }),
  )

/** Without the keys that hold undefined. */
function present<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(value).filter(([, each]) => each !== undefined)
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> }
}

/** `cluster` and `rack` are those of the row that it gets with `register`; PostgreSQL cuts a longer name off. */
const standby = z
  .strictObject({
    group: whole.min(0),
    address,
    cluster: text.max(63).prefault('default'),
    rack: text.optional(),
  })
  .transform(({ rack = null, ...rest }): ListedStandby => ({ ...rest, rack }))

const addressRule = z
  .strictObject({ connect: address.optional(), alias: address.optional() })
  .transform((rule): AddressRule => ({ connect: rule.connect ?? null, alias: rule.alias ?? null }))

const addresses = z.record(z.string(), addressRule).transform((rules, context) => {
  const byAddress = new Map<string, AddressRule>()
  for (const [key, rule] of Object.entries(rules)) {
    const parsed = parseAddress(key)
    if (parsed) byAddress.set(formatAddress(parsed), rule)
    else
      context.addIssue({ code: 'custom', path: [key], message: 'expected an address such as worker-1:5432' })
  }
  return byAddress as ReadonlyMap<string, AddressRule>
})

const nodes = z
  .record(z.string(), address)
  .transform((named): ReadonlyMap<string, HostPort> => new Map(Object.entries(named)))

function coordinatorUrl(env: Environment) {
  return z.string().transform((url, context) => {
    try {
      return parseUrl(url, env)
    } catch (error) {
      if (!(error instanceof UrlError)) throw error
      context.addIssue({ code: 'custom', message: error.message })
      return z.NEVER
    }
  })
}

/** The one description of the configuration, whether it comes from the file, the environment or flags. */
export function configSchema(env: Environment) {
  return z
    .strictObject({
      cluster: expected('a name of up to 40 of a-z, 0-9, _ and -', (name) =>
        /^[a-z0-9_-]{1,40}$/.test(name) ? name : null,
      ).optional(),
      databases: z.array(text).min(1, 'expected at least one database').optional(),
      coordinators: z.array(z.strictObject({ url: coordinatorUrl(env) })).prefault([]),
      connection: connection.prefault({}),
      standbys: z.array(standby).prefault([]),
      register: z.boolean().prefault(false),
      addresses: addresses.prefault({}),
      detect: z
        .strictObject({
          interval: duration.prefault('1s'),
          timeout: duration.prefault('2s'),
          confirm: whole.min(1).max(1000).prefault(3),
          witnessFreshness: duration.prefault('5s'),
          cooldown: optionalDuration.prefault('10s'),
        })
        .prefault({}),
      apply: z
        .strictObject({
          lockTimeout: duration.prefault('200ms'),
          deadline: duration.prefault('30s'),
          decisionWait: optionalDuration.prefault('2s'),
          force: expected(`never or ${DURATION}`, (word) =>
            word === 'never' ? word : parseDuration(word),
          ).prefault('never'),
        })
        .prefault({}),
      routing: z
        .strictObject({
          secondaryDown: z.enum(['auto', 'deactivate', 'leave']).prefault('auto'),
          primaryDown: z.enum(['leave', 'secondary']).prefault('leave'),
          maxLag: size.prefault('16MB'),
        })
        .prefault({}),
      integrations: z.strictObject({ nodes: nodes.prefault({}) }).prefault({}),
      http: z.strictObject({ listen: listener.prefault(DEFAULT_LISTENER) }).optional(),
      control: controlSection.optional(),
      notify: notifySection.optional(),
      log: z.strictObject({ level: z.enum(LOG_LEVELS).prefault('info') }).prefault({}),
      discloseStatements: z.boolean().prefault(false),
    })
    .transform(({ coordinators, ...rest }): Config => {
      const candidates = coordinators.flatMap(({ url }) =>
        url.addresses.map((each): Candidate => {
          return { address: each, database: url.database, settings: { ...rest.connection, ...url.settings } }
        }),
      )
      return {
        ...rest,
        cluster: rest.cluster ?? null,
        databases: rest.databases ?? null,
        http: rest.http ?? null,
        control: rest.control ?? null,
        notify: rest.notify ?? null,
        coordinators: candidates,
        connection: candidates[0]?.settings ?? rest.connection,
      }
    })
}
