import { createHash } from 'node:crypto'
import { z } from 'zod'
import { functionFiles, literal, statement } from '../db/sql.ts'

/** One function as the server or a file of ours has it, without its name. */
const functionRow = z.object({
  name: z.string(),
  language: z.string(),
  definer: z.boolean(),
  /** Of its SET clauses, as `pg_proc.proconfig` has them. */
  config: z.array(z.string()),
  /** md5 of what is between the quotes. */
  body: z.string(),
})

/** The row of `probe/schema`. */
export const schemaRow = z.object({
  owner: z.string().nullable(),
  creators: z.array(z.string()),
  strangers: z.array(z.string()),
  functions: z.array(functionRow),
  others: z.array(z.string()),
})

export type SchemaFacts = z.infer<typeof schemaRow>
export type OwnFunction = z.infer<typeof functionRow>

/** What is to be thought of a schema named citus_ha, by whose it is and what is in it. */
export interface SchemaTrust {
  /** Why it is not ours, a line each: then nothing in it is read or called, whoever we are. Empty: a superuser made it. */
  readonly untrusted: readonly string[]
  /** Functions that are not as in this program, and what is wrong with each. `install` makes them anew. */
  readonly drift: readonly string[]
  /** Whether `node_identity()` is the one of this program, so that a survey may call it. */
  readonly knowsItself: boolean
}

/** What was found of the schema on one server, in one database. */
export interface Verdict {
  /** Of the same moment, as `probe/stamp` says; null: there was no such schema. */
  readonly stamp: string | null
  readonly trust: SchemaTrust
}

const stampRow = z.object({ stamp: z.string().nullable() })
const verdictRow = schemaRow.extend(stampRow.shape)

/** Runs a statement on a connection and gives its one row. */
type Ask = (sql: string) => Promise<unknown>

/** Asks whether a verdict holds. */
export const STAMP = statement('probe/stamp')
/** In one statement, of one snapshot: what is found belongs to this stamp and no other. */
const IN_FULL = `SELECT * FROM (${statement('probe/schema')}\n) AS f CROSS JOIN (${STAMP}\n) AS s`

/** What was found last at each address, in each database. */
export class Verdicts {
  readonly #known = new Map<string, Verdict>()

  /** What was found there last, which may be over. */
  last(where: string): Verdict | null {
    return this.#known.get(where) ?? null
  }

  /**
   * What is to be thought of the schema, found out on the connection itself. It is looked at in full once, and where its
   * stamp is another one than then.
   * @param where the same key, the same address and database
   * @throws what `ask` does
   */
  async on(where: string, ask: Ask): Promise<Verdict> {
    const last = this.last(where)
    if (last && isStill(last, await ask(STAMP))) return last
    const row = verdictRow.parse(await ask(IN_FULL))
    const found = { stamp: row.stamp, trust: trustOf(row) }
    this.#known.set(where, found)
    return found
  }
}

/** @param row of `STAMP` */
export function isStill({ stamp }: Verdict, row: unknown): boolean {
  return stampRow.parse(row).stamp === stamp
}

/**
 * A statement that fails (42704) where a verdict does not hold any more: what comes after it in the same message is then not
 * looked at. A schema that is there and in order stays so for the length of a message, and longer.
 */
export function requireStill({ stamp }: Verdict): string {
  return `SELECT CASE WHEN s.stamp = ${literal(stamp ?? '')} THEN ''
    ELSE current_setting('the schema citus_ha is not the one that was checked') END FROM (${STAMP}\n) AS s`
}

/** Superusers may make what they like, but only what this program has is called. Pure. */
export function trustOf(facts: SchemaFacts, expected: readonly OwnFunction[] = ownFunctions()): SchemaTrust {
  const { creators, strangers, others, functions } = facts
  const untrusted = [
    ...strangers.map((whose) => `${whose}, which is no superuser`),
    ...creators.map((role) => `${role}, which is no superuser, may CREATE in it`),
    ...others.map((what) => `unexpected: ${what}`),
  ]
  const drift = expected.flatMap((own) => {
    const found = functions.filter(({ name }) => name === own.name)
    if (found.length === 0) return [`${own.name}() is missing`]
    return found.some((each) => same(each, own)) ? [] : [`${own.name}() differs`]
  })
  const identity = expected.find(({ name }) => name === 'node_identity')
  return {
    untrusted,
    drift,
    knowsItself: functions.some((each) => identity !== undefined && same(each, identity)),
  }
}

function same(found: OwnFunction, own: OwnFunction): boolean {
  return (
    found.body === own.body &&
    found.language === own.language &&
    found.definer === own.definer &&
    [...found.config].sort().join('\n') === [...own.config].sort().join('\n')
  )
}

let own: readonly OwnFunction[] | null = null

/** The functions of `sql/functions`. @throws Error for a definition that is not written like the others */
export function ownFunctions(): readonly OwnFunction[] {
  own ??= functionFiles().flatMap((sql) =>
    sql
      .split(/^CREATE OR REPLACE FUNCTION citus_ha\./m)
      .slice(1)
      .map(definitionOf),
  )
  return own
}

const DEFINITION = /^(\w+)\([^$]*?\sLANGUAGE (\w+) ([^$]*?)\s*AS \$\$([\s\S]*?)\$\$;/

function definitionOf(text: string): OwnFunction {
  const [, name, language, attributes, body] = DEFINITION.exec(text) ?? []
  if (!name || !language || attributes === undefined || body === undefined)
    throw new Error(`sql/functions: a definition that cannot be read: ${text.slice(0, 60)}`)
  const [head = '', ...settings] = attributes.trim().split(/\s*\bSET /)
  return {
    name,
    language,
    definer: /\bSECURITY DEFINER\b/.test(head),
    config: settings.map((each) => each.trim().replace(/^(\w+) = '?(.*?)'?$/, '$1=$2')),
    body: createHash('md5').update(body).digest('hex'),
  }
}
