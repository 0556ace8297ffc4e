import type { Command } from 'commander'
import type { ConnectionSettings } from '../config/connection.ts'
import type { Config } from '../config/schema.ts'
import { Secret } from '../config/secret.ts'
import { isNoPassword } from '../db/target.ts'
import { CitusHaError } from '../model/failure.ts'
import type { Loaded } from '../walk/cluster.ts'
import { Connections } from '../walk/connections.ts'
import type { Io } from './io.ts'
import { onlookersOf } from './onlookers.ts'

/** As whom a command for superusers connects, as psql has it. */
export interface Login {
  /** Instead of the role that the file and the URLs name; the servers stay those. */
  readonly user?: string
  /** Whether the password is asked for in any case. */
  readonly password?: boolean
}

export function addLoginOptions(command: Command): Command {
  return command
    .option(
      '-U, --user <name>',
      'connect as this role to the same servers; the password is found as psql finds it',
    )
    .option('-W, --password', 'always ask for the password')
}

/**
 * A configuration for somebody who logs in by himself: as the role of `--user`, with the password that he is asked for at a
 * terminal where a server wants one and none is known. A password of the file's is its own role's, and not sent for another one.
 * @throws CitusHaError where there is nobody to be asked, or nothing is answered
 */
export async function loggedIn(loaded: Loaded, { user, password }: Login, io: Io): Promise<Loaded> {
  if (user === '') throw new CitusHaError('usage', '--user: expected a name')
  const config =
    user === undefined ? loaded.config : withSettings(loaded.config, (each) => asUser(each, user))
  const mustAsk = password === true
  if (!mustAsk && !(io.askSecret && (await wantsPassword({ ...loaded, config }, io))))
    return { ...loaded, config }
  if (!io.askSecret)
    throw new CitusHaError(
      'usage',
      '-W cannot ask without a terminal: set PGPASSWORD, or use a password file',
    )
  const named = user ?? config.coordinators[0]?.settings.user ?? (loaded.env.PGUSER || undefined)
  const typed = new Secret(await io.askSecret(`Password${named === undefined ? '' : ` for user ${named}`}: `))
  const settings = (each: ConnectionSettings): ConnectionSettings =>
    mustAsk ? { ...each, password: typed } : { ...each, typedPassword: typed }
  return { ...loaded, config: withSettings(config, settings) }
}

function asUser({ password, ...settings }: ConnectionSettings, user: string): ConnectionSettings {
  const kept = password !== undefined && settings.user === user
  return { ...settings, user, ...(kept && { password }) }
}

function withSettings(config: Config, change: (settings: ConnectionSettings) => ConnectionSettings): Config {
  const { coordinators, connection } = config
  return {
    ...config,
    connection: change(connection),
    coordinators: coordinators.map((each) => ({ ...each, settings: change(each.settings) })),
  }
}

/** Asked of the first candidate that says anything: a survey has no time for somebody who types. */
async function wantsPassword({ config, env, database }: Loaded, io: Io): Promise<boolean> {
  const access = new Connections(config, env, undefined, onlookersOf(io))
  try {
    for (const { address } of config.coordinators) {
      try {
        const session = await access.open(address, database)
        await session.close()
        return false
      } catch (error) {
        if (isNoPassword(error)) return true
      }
    }
    return false
  } finally {
    await access.close()
  }
}
