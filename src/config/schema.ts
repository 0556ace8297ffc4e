import { z } from 'zod'
import { formatAddress, type HostPort, parseAddress } from '../model/node.ts'
import type { ListedStandby } from '../model/plan.ts'
import { type Candidate, type ConnectionSettings, SSL_MODES } from './connection.ts'
import { type Control, controlSection } from './control.ts'
import { parseDuration } from './duration.ts'
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from './log-level.ts'
import { type Notify, notifySection } from './notify.ts'
import { BLAMED } from './problems.ts'
import {
  address,
  DURATION,
  duration,
  example,
  expected,
  hostName,
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
  /** The name leads to whoever is its group's primary, by itself; null: it is a server's own. */
  readonly follows: 'primary' | null
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
  readonly http: Http | null
  /** Where `watch` takes orders, and where other commands find it; null: nowhere. */
  readonly control: Control | null
  /** Whom `watch` tells of what it sees and does; null: nobody. */
  readonly notify: Notify | null
  readonly log: { readonly level: LogLevel; readonly format: LogFormat }
  /** Whether what clients were running is told in logs, notices, events and answers, too; else on terminals alone. */
  readonly discloseStatements: boolean
}

interface Http {
  readonly listen: HostPort
  /** Whether the page that shows the cluster is there. */
  readonly page: boolean
  /** Names under which the page is reached, beside the listener's own, `localhost` and IP addresses. */
  readonly hosts: readonly string[]
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
  readonly readers: 'assumed' | 'seen'
  /** Bytes of WAL a secondary may be behind. */
  readonly maxLag: number
}

/** Where HTTP is answered once it is asked for: on this machine only. */
export const DEFAULT_LISTENER = '127.0.0.1:8008'

const connection = z
  .strictObject({
    user: example(text, 'citus_ha')
      .describe('The role to connect as. Default: PGUSER, or the system’s user.')
      .optional(),
    password: z
      .string()
      .transform((password) => new Secret(password))
      .describe('Better kept in a password file.')
      .optional(),
    passfile: example(text, '/etc/citus-ha/pgpass')
      .describe('A password file, as libpq’s. Default: PGPASSFILE, or ~/.pgpass.')
      .optional(),
    sslmode: example(z.enum(SSL_MODES), 'verify-full')
      .describe('As libpq’s. Default: PGSSLMODE, or prefer.')
      .optional(),
    sslrootcert: example(text, '/etc/citus-ha/root.crt')
      .describe('A PEM file with the authorities that sign the servers’ certificates.')
      .optional(),
    sslcert: example(text, '/etc/citus-ha/client.crt')
      .describe('A PEM file with the client’s certificate.')
      .optional(),
    sslkey: example(text, '/etc/citus-ha/client.key')
      .describe('A PEM file with the key of sslcert.')
      .optional(),
    sslcrl: example(text, '/etc/citus-ha/root.crl')
      .describe('A PEM file with certificates that were revoked. Default: PGSSLCRL.')
      .optional(),
    connectTimeout: duration
      .describe('How long one connection may take. Default: PGCONNECT_TIMEOUT, or 10s.')
      .optional(),
    options: example(text, '-c work_mem=8MB')
      .describe('Settings of the session, as libpq’s: "-c work_mem=8MB".')
      .optional(),
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
    group: example(whole.min(0), 1).describe('The group of its primary; 0 is the coordinator’s.'),
    address: address.describe('The address at which every node reaches it.'),
    cluster: text
      .max(63)
      .describe('`nodecluster` of the row that it gets with register.')
      .prefault('default'),
    rack: example(text, 'north').describe('`noderack` of that row. Default: Citus’s own.').optional(),
  })
  .transform(({ rack = null, ...rest }): ListedStandby => ({ ...rest, rack }))

const addressRule = z
  .strictObject({
    connect: example(address, '10.0.0.11:6432')
      .describe('The address at which citus-ha reaches it, if not the registered one.')
      .optional(),
    alias: example(address, 'worker-1-alias:5432')
      .describe(
        'A second name for it that every node resolves: a row may have it while reads are redirected.',
      )
      .optional(),
    follows: z
      .literal('primary')
      .describe(
        'The name always leads to the current primary (a Kubernetes Service): citus-ha never rewrites its row, and waits until the name leads to the new primary.',
      )
      .optional(),
  })
  .transform(({ connect = null, alias = null, follows = null }): AddressRule => ({ connect, alias, follows }))

const addresses = example(z.record(z.string(), addressRule), { 'worker-1:5432': {} }).transform(
  (rules, context) => {
    const byAddress = new Map<string, AddressRule>()
    for (const [key, rule] of Object.entries(rules)) {
      const parsed = parseAddress(key)
      if (parsed) byAddress.set(formatAddress(parsed), rule)
      else
        context.addIssue({
          code: 'custom',
          path: [key],
          message: 'expected an address such as worker-1:5432',
        })
    }
    return byAddress as ReadonlyMap<string, AddressRule>
  },
)

const nodes = example(z.record(z.string(), address), { 'node-1': 'w1a.example:5432' }).transform(
  (named): ReadonlyMap<string, HostPort> => new Map(Object.entries(named)),
)

function coordinatorUrl(env: Environment, nameOf: (variable: string) => string) {
  return z.string().transform((url, context) => {
    try {
      return parseUrl(url, env)
    } catch (error) {
      if (!(error instanceof UrlError)) throw error
      const { message, variable } = error
      context.addIssue({
        code: 'custom',
        message,
        ...(variable && { params: { [BLAMED]: nameOf(variable) } }),
      })
      return z.NEVER
    }
  })
}

/**
 * The one description of the configuration, whether it comes from the file, the environment or flags.
 * @param nameOf what whoever set a variable calls it
 */
export function configSchema(env: Environment, nameOf = (variable: string): string => variable) {
  return z
    .strictObject({
      cluster: expected(
        'a name of up to 40 of a-z, 0-9, _ and -',
        (name) => (/^[a-z0-9_-]{1,40}$/.test(name) ? name : null),
        'orders',
      )
        .describe('The cluster’s name in gids, metrics and logs. Default: made from the system identifier.')
        .optional(),
      databases: example(z.array(text).min(1, 'expected at least one database'), ['app'])
        .describe('The databases that citus-ha works on. Default: every database that has Citus.')
        .optional(),
      coordinators: z
        .array(
          z.strictObject({
            url: example(coordinatorUrl(env, nameOf), 'postgres://citus_ha@cn1.example:5432/app').describe(
              'A URL as psql takes it: postgres://citus_ha@cn1.example/app',
            ),
          }),
        )
        .describe(
          'Candidates: the coordinator and its standbys. citus-ha finds out which of them is the coordinator.',
        )
        .prefault([]),
      connection: connection
        .describe('Connection settings for every node; the URL of a coordinator takes precedence.')
        .prefault({}),
      standbys: z
        .array(standby)
        .describe('Servers that may be promoted and have no row in pg_dist_node.')
        .prefault([]),
      register: z
        .boolean()
        .describe(
          'Whether citus-ha registers the servers under standbys that stream from their primary in pg_dist_node.',
        )
        .prefault(false),
      addresses: addresses
        .describe('By registered address: how citus-ha reaches the node, and a second name for it.')
        .prefault({}),
      detect: z
        .strictObject({
          interval: duration.describe('The time between two surveys of watch.').prefault('1s'),
          timeout: duration.describe('How long one node may take to answer.').prefault('2s'),
          confirm: whole
            .min(1)
            .max(1000)
            .describe('How many surveys, an interval apart, must show a server down before it is believed.')
            .prefault(3),
          witnessFreshness: duration
            .describe(
              'If a standby has received a message from its primary within this time, the primary counts as running.',
            )
            .prefault('5s'),
          cooldown: optionalDuration
            .describe('How long watch leaves a group alone after a change, except for a proved promotion.')
            .prefault('10s'),
        })
        .describe('How watch detects changes.')
        .prefault({}),
      apply: z
        .strictObject({
          lockTimeout: duration
            .describe(
              'How long the first round of locks may hold writers. If its locks do not come, the next round is longer, 2s at most.',
            )
            .prefault('200ms'),
          deadline: duration
            .describe('How long to keep trying while locks or nodes block the change.')
            .prefault('30s'),
          decisionWait: optionalDuration
            .describe('How long the coordinator’s commit may wait for synchronous replication.')
            .prefault('2s'),
          force: expected(
            `never or ${DURATION}`,
            (word) => (word === 'never' ? word : parseDuration(word)),
            '10s',
          )
            .describe('Blocking sessions are terminated after this time; never: not at all.')
            .prefault('never'),
        })
        .describe('How a change is made.')
        .prefault({}),
      routing: z
        .strictObject({
          secondaryDown: z
            .enum(['auto', 'deactivate', 'leave'])
            .describe('What citus-ha does with the row of a secondary that is down.')
            .prefault('auto'),
          primaryDown: z
            .enum(['leave', 'secondary'])
            .describe('Whether reads go to a secondary while a primary is down and no standby is promoted.')
            .prefault('leave'),
          readers: z
            .enum(['assumed', 'seen'])
            .describe(
              'Whether every registered secondary counts as used for reads, or only where citus-ha sees an expand coordinator.',
            )
            .prefault('assumed'),
          maxLag: size
            .describe(
              'How far a secondary may be behind and still serve reads; and how much WAL a promoted node may lack.',
            )
            .prefault('16MB'),
        })
        .describe('Reads while a node is down.')
        .prefault({}),
      integrations: z
        .strictObject({
          nodes: nodes
            .describe(
              'Nodes as HA tools call them, by their registered addresses: { "node-1": "w1a.example:5432" }',
            )
            .prefault({}),
        })
        .describe('Settings of citus-ha event.')
        .prefault({}),
      http: z
        .strictObject({
          listen: listener
            .describe('The address: HOST:PORT; port 0 means any free port.')
            .prefault(DEFAULT_LISTENER),
          page: z.boolean().describe('Whether / is a page that shows the cluster.').prefault(false),
          hosts: example(z.array(hostName), ['citus.example'])
            .describe('Names under which a proxy has the page, or people reach it; IP addresses need none.')
            .prefault([]),
        })
        .describe('The address where watch serves /healthz, /readyz, /metrics and /status. Default: off.')
        .optional(),
      control: controlSection
        .describe('Where watch takes requests over HTTP, and where other commands find it. Default: off.')
        .optional(),
      notify: notifySection.describe('Where watch sends notifications. Default: none.').optional(),
      log: z
        .strictObject({
          level: z.enum(LOG_LEVELS).describe('The lowest level that is logged.').prefault('info'),
          format: z
            .enum(LOG_FORMATS)
            .describe(
              'The format of the log lines; auto: text on a terminal, else JSON. Read at the start only.',
            )
            .prefault('auto'),
        })
        .describe('The log of watch.')
        .prefault({}),
      discloseStatements: z
        .boolean()
        .describe(
          'Whether statements of clients also appear in logs, notifications and HTTP answers, and not only on terminals.',
        )
        .prefault(false),
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
