import type { SessionLike } from '../db/pg.ts'
import { literal } from '../db/sql.ts'
import { CitusHaError } from '../model/failure.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import { lookAt, type NodeFacts } from './facts.ts'
import { type InstallOrder, planInstall, type Step } from './plan.ts'

const LIMIT_MS = 30_000
/** Against itself alone, and by superusers alone: anybody may take an advisory lock. */
export const INSTALL_LOCK = 'LOCK TABLE pg_catalog.pg_namespace IN SHARE UPDATE EXCLUSIVE MODE'

/**
 * What holds for the transaction: every node is installed by itself, so Citus must not spread the DDL; ours are plain tables of
 * each node, and the schema is nobody's tenant, whatever is made of others' by default; a node whose standby is gone must not
 * hang on it; and an index that is built in parallel takes files, however small it is.
 */
export const INSTALL_SETTINGS = {
  'citus.enable_ddl_propagation': 'off',
  'citus.use_citus_managed_tables': 'off',
  'citus.enable_schema_based_sharding': 'off',
  default_table_access_method: 'heap',
  synchronous_commit: 'local',
  temp_file_limit: '-1',
  lock_timeout: `${LIMIT_MS / 2}`,
} as const

/** For the transaction. Older releases of Citus and PostgreSQL do not know them all. */
export function setLocally(name: string, value: string): string {
  return `SELECT pg_catalog.set_config(${literal(name)}, ${literal(value)}, true) WHERE pg_catalog.current_setting(${literal(name)}, true) IS NOT NULL`
}

const BEGIN = [
  'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE',
  ...Object.entries(INSTALL_SETTINGS).map(([name, value]) => setLocally(name, value)),
  INSTALL_LOCK,
].join('; ')

/** What was found on a server, and what was done there, or is to be. */
export interface Prepared {
  readonly facts: NodeFacts
  readonly steps: readonly Step[]
}

/**
 * Brings the schema `citus_ha` of one database on one writable node up to date, in one transaction. Again:
 * nothing is done. The session has to be a superuser's.
 * @returns what was done; no steps where it was up to date
 * @throws CitusHaError where the database is ahead of this program, or a schema of that name is somebody else's; what the
 *   server says otherwise
 */
export async function install(session: SessionLike, node: HostPort, order: InstallOrder): Promise<Prepared> {
  return await within(session, BEGIN, 'COMMIT', async () => {
    await requireSuperuser(session, node)
    const prepared = await prepare(session, node, order)
    if (prepared.steps.length > 0) await waitForRelease(session)
    for (const { sql } of prepared.steps) for (const text of sql) await session.run(text, LIMIT_MS)
    return prepared
  })
}

/**
 * A server whose primary is being replaced keeps this table locked (`citus_ha.lock_shards`) from before the promotion until it is
 * retired. What is written there meanwhile would be no part of its successor: whoever waits for it is ended, as other writers are.
 */
async function waitForRelease(session: SessionLike): Promise<void> {
  const [rows] = await session.run(HAS_TABLE, LIMIT_MS)
  if (rows?.[0]?.there === true)
    await session.run('LOCK TABLE citus_ha.retired IN ROW EXCLUSIVE MODE', LIMIT_MS)
}

const HAS_TABLE = `SELECT pg_catalog.to_regclass('citus_ha.retired') IS NOT NULL AS there`

/** What `install` would do, in a transaction that can't write. It needs no superuser where the role may look. */
export async function rehearse(session: SessionLike, node: HostPort, order: InstallOrder): Promise<Prepared> {
  const begin = 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY'
  return await within(session, begin, 'ROLLBACK', () => prepare(session, node, order))
}

async function prepare(session: SessionLike, node: HostPort, order: InstallOrder): Promise<Prepared> {
  const facts = await lookAt(session, node, order.role)
  return { facts, steps: planInstall(facts, order) }
}

export async function within<Result>(
  session: SessionLike,
  begin: string,
  end: 'COMMIT' | 'ROLLBACK',
  work: () => Promise<Result>,
): Promise<Result> {
  await session.run(begin, LIMIT_MS)
  try {
    const result = await work()
    await session.run(end, LIMIT_MS)
    return result
  } catch (error) {
    if (session.alive) await session.run('ROLLBACK', LIMIT_MS)
    throw error
  }
}

const IS_SUPERUSER = 'SELECT r.rolsuper AS superuser FROM pg_roles r WHERE r.rolname = current_user'

/** @throws CitusHaError */
export async function requireSuperuser(session: SessionLike, node: HostPort): Promise<void> {
  const [who] = await session.run(IS_SUPERUSER, LIMIT_MS)
  if (who?.[0]?.superuser === true) return
  const why = 'this session does not run as a superuser; does ALTER DATABASE or ALTER ROLE set a role for it?'
  throw new CitusHaError('configuration', `${formatAddress(node)}: ${why}`)
}
