import { homedir } from 'node:os'
import { join } from 'node:path'
import { ConfigError } from './config-error.ts'
import { hear } from './libpq.ts'
import { isMissing, readRegular, whyUnreadable } from './read-file.ts'
import type { Environment } from './url.ts'

/** The variable that stands for each parameter of libpq that citus-ha takes ("Environment Variables" in PostgreSQL's manual). */
const VARIABLES: Readonly<Record<string, string>> = {
  host: 'PGHOST',
  hostaddr: 'PGHOSTADDR',
  port: 'PGPORT',
  dbname: 'PGDATABASE',
  user: 'PGUSER',
  password: 'PGPASSWORD',
  passfile: 'PGPASSFILE',
  options: 'PGOPTIONS',
  connect_timeout: 'PGCONNECT_TIMEOUT',
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  sslcrl: 'PGSSLCRL',
  ssl_min_protocol_version: 'PGSSLMINPROTOCOLVERSION',
  ssl_max_protocol_version: 'PGSSLMAXPROTOCOLVERSION',
}

/** Where PostgreSQL's packages have `pg_service.conf` (`pg_config --sysconfdir`): Debian's, the PGDG's RPMs, and its own. */
const DIRECTORIES = ['/etc/postgresql-common', '/etc/sysconfig/pgsql', '/usr/local/pgsql/etc']

/** The environment as libpq sees it once a service is looked up. */
export interface ServiceEnvironment {
  readonly env: Environment
  /** What a variable is called to whoever set it: `/home/me/.pg_service.conf: [orders] host`, or its name. */
  readonly nameOf: (variable: string) => string
  /** Of what is ignored, a line each. */
  readonly warnings: readonly string[]
}

/**
 * Looks `PGSERVICE` up in the service file ("The Connection Service File" in PostgreSQL's manual): what it says of a service
 * takes the place of the variables for the same parameters. `PGHOSTADDR` stands in for `PGHOST`.
 * @param directories of the machine's own file, where `PGSYSCONFDIR` does not name it
 * @throws ConfigError where there is no such service, or it says something that can't be carried out
 */
export async function withService(
  given: Environment,
  directories: readonly string[] = DIRECTORIES,
): Promise<ServiceEnvironment> {
  const service = given.PGSERVICE
  const found = service ? await lookUp(service, given, directories) : null
  const env = { ...given, ...found?.variables }
  const nameOf = (variable: string) => {
    const key = variable === 'PGHOST' && !env.PGHOST ? 'PGHOSTADDR' : variable
    const word = Object.keys(VARIABLES).find((each) => VARIABLES[each] === key)
    return found && key in found.variables ? `${found.file}: [${service}] ${word}` : key
  }
  const warnings = [...(found?.warnings ?? [])]
  if (!env.PGHOSTADDR || env.PGHOST === env.PGHOSTADDR) return { env, nameOf, warnings }
  if (!env.PGHOST) return { env: { ...env, PGHOST: env.PGHOSTADDR }, nameOf, warnings }
  // Servers are known by one address each, and all but the first have no variable.
  warnings.push(`${nameOf('PGHOSTADDR')} is ignored: ${nameOf('PGHOST')} says which server is meant`)
  return { env, nameOf, warnings }
}

interface Found {
  readonly file: string
  readonly variables: Readonly<Record<string, string>>
  readonly warnings: readonly string[]
}

/** The user's own file first, then the machine's, as libpq. */
async function lookUp(service: string, env: Environment, directories: readonly string[]): Promise<Found> {
  const own = env.PGSERVICEFILE || join(env.HOME || homedir(), '.pg_service.conf')
  const shared = (env.PGSYSCONFDIR ? [env.PGSYSCONFDIR] : directories).map((each) =>
    join(each, 'pg_service.conf'),
  )
  for (const file of [own, ...shared]) {
    const text = await read(file, file === env.PGSERVICEFILE)
    const found = text === null ? null : serviceIn(text, service, file)
    if (found) return { file, ...found }
  }
  throw new ConfigError(`PGSERVICE: no service ${JSON.stringify(service)} in ${[own, ...shared].join(', ')}`)
}

/** @returns null where there is none, and none is named */
async function read(file: string, isNamed: boolean): Promise<string | null> {
  try {
    return (await readRegular(file)).bytes.toString()
  } catch (error) {
    if (!isNamed && isMissing(error)) return null
    throw new ConfigError(`${isNamed ? 'PGSERVICEFILE: ' : ''}${file}: ${whyUnreadable(error)}`, {
      cause: error,
    })
  }
}

/** Of two lines for one parameter the first counts. @returns null where the file does not have the service */
function serviceIn(text: string, service: string, file: string): Omit<Found, 'file'> | null {
  const variables: Record<string, string> = {}
  const warnings: string[] = []
  let [isThere, isWanted] = [false, false]
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    if (line.startsWith('[')) {
      // The first of that name, as for libpq.
      if (isThere) break
      isWanted = line.startsWith(`[${service}]`)
      isThere ||= isWanted
    } else if (isWanted) {
      const { name, value, warning } = parameter(line, `${file}:${i + 1}`)
      const variable = VARIABLES[name]
      if (variable !== undefined) variables[variable] ??= value
      if (warning !== null) warnings.push(warning)
    }
  }
  return isThere ? { variables, warnings } : null
}

interface Parameter {
  readonly name: string
  readonly value: string
  /** Why it is ignored, where somebody may count on it. */
  readonly warning: string | null
}

function parameter(line: string, place: string): Parameter {
  const equals = line.indexOf('=')
  if (equals < 1) throw new ConfigError(`${place}: expected name=value`)
  const [name, value] = [line.slice(0, equals), line.slice(equals + 1)]
  const heard = name === 'sslpassword' ? 'refused' : hear(name, value)
  if (heard === 'unknown') throw new ConfigError(`${place}: unknown parameter ${JSON.stringify(name)}`)
  if (heard === 'refused')
    throw new ConfigError(`${place}: citus-ha does not read ${name} from a service file`)
  const ignored = heard === 'taken' ? null : heard.ignored
  return { name, value, warning: ignored === null ? null : `${place}: ${ignored}` }
}
