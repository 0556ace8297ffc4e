import { z } from 'zod'
import type { SessionLike } from '../db/pg.ts'
import { statement } from '../db/sql.ts'
import { CitusHaError, untrustedSchema } from '../model/failure.ts'
import type { HostPort } from '../model/node.ts'
import { schemaRow, trustOf } from '../observe/trust.ts'
import { CALLABLE } from './grants.ts'

const LIMIT_MS = 30_000
/** Since then a role may be granted ALTER SYSTEM on a parameter. */
const PARAMETERS_SINCE = 150_000

/** The row of `probe/role`. */
const roleRow = z.object({
  database: z.string(),
  version: z.number(),
  present: z.boolean(),
  role: z.boolean(),
  statistics: z.boolean(),
  reserves: z.boolean(),
  reserved: z.boolean(),
  connects: z.boolean(),
  connect_granted: z.boolean(),
  uses: z.boolean(),
  users: z.array(z.string()),
  promoting: z.array(z.string()),
})

const allowedRow = z.object({ groupid: z.number(), nodename: z.string(), nodeport: z.number() })
const parameterRow = z.object({ name: z.string(), granted: z.boolean() })

/** What a role was given on one server, in one database. */
export interface RoleFacts extends z.infer<typeof roleRow> {
  /** Of the settings that a switchover changes, those that this server knows; null before PostgreSQL 15. */
  readonly parameters: readonly z.infer<typeof parameterRow>[] | null
}

/** What one database of one server has of ours, and what its role may do. Plain data. */
export interface NodeFacts extends RoleFacts {
  /** Functions that are not as in this program, and what is wrong with each; empty where there is no schema. */
  readonly drift: readonly string[]
  /** The highest migration that was applied; 0: none. */
  readonly migration: number
  readonly allowed: readonly { readonly group: number; readonly address: HostPort }[]
}

/** @param role '' for none */
export async function lookAtRole(session: SessionLike, role: string): Promise<RoleFacts> {
  const [rows] = await session.run(statement('probe/role'), LIMIT_MS, [role, JSON.stringify(CALLABLE)])
  const found = roleRow.parse(rows?.[0])
  return { ...found, parameters: await parametersOf(session, found.version, role) }
}

/**
 * Looks, and changes nothing. What a superuser calls in a schema runs as a superuser: one of the name of ours is trusted by its
 * owners and its content.
 * @param role null: no role is asked about
 * @throws CitusHaError for a schema of that name that is somebody else's; what the server says, such as that this role may not look
 */
export async function lookAt(session: SessionLike, node: HostPort, role: string | null): Promise<NodeFacts> {
  const [trustRows] = await session.run(statement('probe/schema'), LIMIT_MS)
  const schema = schemaRow.parse(trustRows?.[0])
  const { untrusted, drift } = trustOf(schema)
  if (untrusted.length > 0) throw new CitusHaError('configuration', untrustedSchema(node, untrusted))
  const found = await lookAtRole(session, role ?? '')
  return {
    ...found,
    drift: found.present ? drift : [],
    ...(found.present ? await whatIsWritten(session) : { migration: 0, allowed: [] }),
  }
}

async function whatIsWritten(session: SessionLike): Promise<Pick<NodeFacts, 'migration' | 'allowed'>> {
  const [there] = await session.run(`SELECT to_regclass('citus_ha.migration') IS NOT NULL AS there`, LIMIT_MS)
  if (there?.[0]?.there !== true) return { migration: 0, allowed: [] }
  const [rows] = await session.run('SELECT max(number) AS number FROM citus_ha.migration', LIMIT_MS)
  const { number } = z.object({ number: z.number().int() }).parse(rows?.[0])
  const [allowed] = await session.run(
    'SELECT groupid, nodename, nodeport FROM citus_ha.allowed_address',
    LIMIT_MS,
  )
  return {
    migration: number,
    allowed: z
      .array(allowedRow)
      .parse(allowed)
      .map(({ groupid, nodename, nodeport }) => ({
        group: groupid,
        address: { host: nodename, port: nodeport },
      })),
  }
}

async function parametersOf(
  session: SessionLike,
  version: number,
  role: string,
): Promise<RoleFacts['parameters']> {
  if (version < PARAMETERS_SINCE) return null
  const [rows] = await session.run(statement('probe/parameters'), LIMIT_MS, [role])
  return z.array(parameterRow).parse(rows)
}
