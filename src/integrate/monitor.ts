import { ConfigError } from '../config/config-error.ts'
import { type Environment, parseUrl, UrlError } from '../config/url.ts'
import { openProbe } from '../db/postgres.ts'
import { statement } from '../db/sql.ts'
import type { Onlookers } from '../db/target.ts'
import { resolveTarget, type Target } from '../db/target.ts'
import { CitusHaError } from '../model/failure.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import { type MonitorNode, monitorRows } from './auto-failover.ts'

/** pg_auto_failover's own name for its database. */
const DATABASE = 'pg_auto_failover'

/**
 * What a pg_auto_failover monitor knows of its nodes at this moment. Of several hosts the first counts that answers and is
 * no standby.
 * @param url such as `pg_autoctl show uri --monitor` gives
 * @param limitMs for connecting and answering, each, shared by the hosts
 * @param warn told what of the URL is ignored, and the like
 * @param onlookers of the connections, where somebody wants to see them
 * @throws ConfigError for a URL that is none; CitusHaError (`blocked`) where no monitor answers
 */
export async function askMonitor(
  url: string,
  env: Environment,
  limitMs: number,
  warn: (text: string) => void,
  onlookers?: Onlookers,
): Promise<MonitorNode[]> {
  const { addresses, database, settings } = parsed(url, env)
  const failed: { readonly said: string; readonly cause: unknown }[] = []
  const told = new Set<string>()
  for (const address of addresses) {
    const target = await resolveTarget(address, database ?? DATABASE, settings, env)
    for (const text of target.warnings.filter((each) => !told.has(each))) {
      told.add(text)
      warn(text)
    }
    try {
      return await watched(
        address,
        target,
        Math.trunc(limitMs / addresses.length),
        addresses.length > 1,
        onlookers,
      )
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      failed.push({ said: `the monitor at ${formatAddress(address)}: ${why}`, cause })
    }
  }
  const [first] = failed
  if (!first) throw new ConfigError('--monitor: no host')
  throw new CitusHaError('blocked', failed.map(({ said }) => said).join('; '), { cause: first.cause })
}

async function watched(
  node: HostPort,
  target: Target,
  limitMs: number,
  isOneOfMany: boolean,
  onlookers: Onlookers | undefined,
): Promise<MonitorNode[]> {
  const onlooker = onlookers?.(node, target)
  const answered = onlooker?.waits(limitMs)
  try {
    const nodes = await ask(onlooker ? { ...target, onlooker } : target, limitMs, isOneOfMany)
    onlooker?.tried(null)
    return nodes
  } catch (error) {
    onlooker?.tried(error)
    throw error
  } finally {
    answered?.()
  }
}

/** @param isOneOfMany whether another host may be the monitor itself, where this is a standby of it */
async function ask(target: Target, limitMs: number, isOneOfMany: boolean): Promise<MonitorNode[]> {
  const connection = openProbe(
    { ...target, connectTimeoutMs: Math.min(limitMs, target.connectTimeoutMs) },
    limitMs,
  )
  try {
    if (isOneOfMany) {
      const row = await connection.one('SELECT pg_catalog.pg_is_in_recovery() AS standby')
      if ((row as { standby: unknown }).standby === true) throw new Error('it is a standby')
    }
    return monitorRows.parse(await connection.one(statement('integrate/auto-failover'))).nodes
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
