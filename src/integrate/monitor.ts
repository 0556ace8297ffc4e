import { ConfigError } from '../config/config-error.ts'
import { type Environment, parseUrl, UrlError } from '../config/url.ts'
import { openProbe } from '../db/postgres.ts'
import { statement } from '../db/sql.ts'
import { resolveTarget } from '../db/target.ts'
import { CitusHaError } from '../model/failure.ts'
import { type MonitorNode, monitorRows } from './auto-failover.ts'

/** pg_auto_failover's own name for its database. */
const DATABASE = 'pg_auto_failover'

/**
 * What a pg_auto_failover monitor knows of its nodes at this moment.
 * @param url such as `pg_autoctl show uri --monitor` gives
 * @param limitMs for connecting and answering, each
 * @throws ConfigError for a URL that is none; CitusHaError (`blocked`) where the monitor does not answer
 */
export async function askMonitor(url: string, env: Environment, limitMs: number): Promise<MonitorNode[]> {
  const { addresses, database, settings } = parsed(url, env)
  const [address] = addresses
  if (!address) throw new ConfigError('--monitor: no host')
  const target = await resolveTarget(address, database ?? DATABASE, settings, env)
  const connection = openProbe(
    { ...target, connectTimeoutMs: Math.min(limitMs, target.connectTimeoutMs) },
    limitMs,
  )
  try {
    return monitorRows.parse(await connection.one(statement('integrate/auto-failover'))).nodes
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new CitusHaError('blocked', `the monitor at ${address.host}:${address.port}: ${why}`, {
      cause: error,
    })
  } finally {
    await connection.close()
  }
}

function parsed(url: string, env: Environment) {
  try {
    return parseUrl(url, env)
  } catch (error) {
    if (error instanceof UrlError) throw new ConfigError(`--monitor: ${error.message}`)
    throw error
  }
}
