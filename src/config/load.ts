import type { z } from 'zod'
import { ConfigError } from './config-error.ts'
import { namesIn, problemsOf, schemaTree } from './problems.ts'
import { isMissing, readGiven, readRegular, whyUnreadable } from './read-file.ts'
import { redact } from './redact.ts'
import { type Config, configSchema } from './schema.ts'
import { withService } from './service.ts'
import type { Environment } from './url.ts'
import { readYaml } from './yaml.ts'

/** Where the configuration comes from; what stands first wins: flags, environment, file. */
export interface ConfigSources {
  /** `--config`; else `CITUS_HA_CONFIG`. */
  readonly file?: string
  /**
   * `--coordinator`, repeatable; else `CITUS_HA_COORDINATOR`, URLs parted by spaces; else the file's; else the host of
   * `PGSERVICE` or `PGHOST`.
   */
  readonly coordinators?: readonly string[]
  /**
   * The first of these that is there is read where nothing else names a file, `--coordinator` or `CITUS_HA_COORDINATOR` a
   * cluster. What a file says of standbys, addresses and the watcher is true of its own cluster alone, so that whoever names
   * another cluster must not get it unasked.
   */
  readonly defaultFiles?: readonly string[]
  readonly env: Environment
  /** How a file is read, for tests and other hosts. */
  readonly readFile?: (path: string) => Promise<string>
}

/** Where a configuration was taken from. */
export interface Origin {
  /** null: no file was read. */
  readonly file: { readonly path: string; readonly by: '--config' | 'CITUS_HA_CONFIG' | 'default' } | null
  readonly coordinators: '--coordinator' | 'CITUS_HA_COORDINATOR' | 'file' | 'PGSERVICE' | 'PGHOST'
}

export interface ReadConfig {
  readonly config: Config
  readonly origin: Origin
  /** With what a service file says in place of the variables for it: for whoever connects. */
  readonly env: Environment
  /** To be logged once, as a password file that others may read is. */
  readonly warnings: readonly string[]
}

/** @throws ConfigError as `readConfig` does */
export async function loadConfig(sources: ConfigSources): Promise<Config> {
  return (await readConfig(sources)).config
}

/**
 * Reads and checks; nothing is asked of any server.
 * @throws ConfigError with all problems, a line each that names the file, flag or variable, the key, and what it expects.
 */
export async function readConfig(sources: ConfigSources): Promise<ReadConfig> {
  const found = await findFile(sources)
  const { env, nameOf, warnings } = await withService(sources.env)
  const schema = configSchema(env, nameOf)
  const file = found && (await readYaml(found.path, found.text, keysOf(schema)))
  const written = file?.value ?? {}
  const override = coordinatorsOf({ ...sources, env }, written)
  const result = schema.safeParse({ ...written, ...override?.value }, { reportInput: true })
  if (!result.success) {
    const name = found === null ? 'configuration' : redact(found.path)
    throw new ConfigError(problemsOf(result.error, schema, { name, ...file }, override?.source ?? null))
  }
  if (result.data.coordinators.length === 0) throw new ConfigError(noCoordinator(found, sources))
  return {
    config: result.data,
    env,
    origin: {
      file: found && { path: found.path, by: found.by },
      coordinators: override?.source ?? 'file',
    },
    warnings: [...warnings, ...(found ? warningsOf(found, written) : [])],
  }
}

/**
 * Where a file is looked for that nobody has named: the user's own, then the machine's.
 * @param etc for tests
 */
export function defaultFiles({ XDG_CONFIG_HOME, HOME }: Environment, etc = '/etc'): string[] {
  // A path that is not absolute is to be ignored, says the XDG Base Directory Specification.
  const own = XDG_CONFIG_HOME?.startsWith('/') ? XDG_CONFIG_HOME : HOME ? `${HOME}/.config` : null
  return [...(own === null ? [] : [own]), etc].map((directory) => `${directory}/citus-ha/citus-ha.yaml`)
}

interface Found {
  readonly path: string
  readonly by: NonNullable<Origin['file']>['by']
  readonly text: string
  /** Whether every user of the machine may read it. */
  readonly isPublic: boolean
}

async function findFile(sources: ConfigSources): Promise<Found | null> {
  const { file, env, coordinators, defaultFiles = [] } = sources
  if (file !== undefined) return { ...(await read(file, sources, readGiven)), path: file, by: '--config' }
  const named = env.CITUS_HA_CONFIG
  if (named) return { ...(await read(named, sources, readGiven)), path: named, by: 'CITUS_HA_CONFIG' }
  if (coordinators?.length || splitUrls(env.CITUS_HA_COORDINATOR ?? '').length > 0) return null
  for (const path of defaultFiles) {
    const found = await read(path, sources, readRegular).catch((error: unknown) => {
      if (error instanceof ConfigError && isMissing(error.cause)) return null
      throw error
    })
    if (found) return { ...found, path, by: 'default' }
  }
  return null
}

async function read(
  path: string,
  { readFile }: ConfigSources,
  fromDisk: typeof readGiven,
): Promise<Pick<Found, 'text' | 'isPublic'>> {
  try {
    if (readFile) return { text: await readFile(path), isPublic: false }
    const { bytes, stats } = await fromDisk(path)
    const isPublic = process.platform !== 'win32' && (stats.mode & 0o004) !== 0
    return { text: bytes.toString(), isPublic }
  } catch (error) {
    throw new ConfigError(`${redact(path)}: ${whyUnreadable(error)}`, { cause: error })
  }
}

interface Override {
  readonly source: Exclude<Origin['coordinators'], 'file'>
  readonly value: { readonly coordinators: readonly { readonly url: string }[] }
}

function coordinatorsOf(
  { coordinators, env }: ConfigSources,
  written: Record<string, unknown>,
): Override | null {
  const urls = splitUrls(env.CITUS_HA_COORDINATOR ?? '')
  if (coordinators?.length) return override('--coordinator', coordinators)
  if (urls.length > 0) return override('CITUS_HA_COORDINATOR', urls)
  const names = Array.isArray(written.coordinators)
    ? written.coordinators.length > 0
    : 'coordinators' in written
  // As psql without an argument.
  return env.PGHOST && !names ? override(env.PGSERVICE ? 'PGSERVICE' : 'PGHOST', ['postgres://']) : null
}

function override(source: Override['source'], urls: readonly string[]): Override {
  return { source, value: { coordinators: urls.map((url) => ({ url })) } }
}

/** A comma parts URLs only where a new one begins: inside one it parts hosts. */
function splitUrls(text: string): string[] {
  return text.split(/\s+|,\s*(?=postgres(?:ql)?:\/\/)/).filter((url) => url !== '' && url !== ',')
}

function noCoordinator(found: Found | null, { defaultFiles = [] }: ConfigSources): string {
  const where = found === null ? '' : `${redact(found.path)}: `
  const missing =
    found === null && defaultFiles.length > 0 ? `; there is no file ${defaultFiles.join(' or ')}` : ''
  return `${where}no coordinator: give --coordinator URL, --config FILE or CITUS_HA_COORDINATOR${missing}`
}

/** Every name that stands anywhere in the file. */
const keysOf = (schema: z.ZodType) => () => new Set(namesIn(schemaTree(schema)))

function warningsOf({ path, isPublic, text }: Found, written: object): string[] {
  const [secret] = isPublic ? secretsIn(written, '') : []
  const file = redact(path)
  return [
    ...(secret === undefined
      ? []
      : [
          `${file} has world access and holds a secret (${secret}); permissions should be u=rw,g=r (0640) or less`,
        ]),
    ...cutShort(text).map(
      (line) =>
        `${file}:${line}: what follows “ #” is a comment, and no part of the value: text with “ #” in it needs quotes`,
    ),
  ]
}

/** Lines of secrets that a `#` ends; with a blank after it, it is most likely meant as a comment. */
function cutShort(text: string): number[] {
  const secret = /^\s*(?:-\s+)?(?:\w*[pP]assword|token|secret|routingKey):\s+[^\s"'#][^"'#]*\s#\S/
  return text.split('\n').flatMap((line, i) => (secret.test(line) ? [i + 1] : []))
}

/** Keys beside which another one names a file instead, and `password`. */
const SECRET = /(?:\.|^)(?:password|token|secret|routingKey|slack\[\d+\]\.url)$/

/** Where in the file a password, a token or a secret stands in itself, and not as the name of another file. */
function secretsIn(value: unknown, path: string): string[] {
  if (typeof value === 'string') return SECRET.test(path) || redact(value) !== value ? [path] : []
  if (Array.isArray(value)) return value.flatMap((each, i) => secretsIn(each, `${path}[${i}]`))
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, each]) => secretsIn(each, path === '' ? key : `${path}.${key}`))
}
