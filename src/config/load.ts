import type { Document } from 'yaml'
import { ConfigError } from './config-error.ts'
import { kindOf, problemsOf } from './problems.ts'
import { isMissing, readGiven, readRegular, whyUnreadable } from './read-file.ts'
import { redact } from './redact.ts'
import { type Config, configSchema } from './schema.ts'
import type { Environment } from './url.ts'

/** Where the configuration comes from; what stands first wins: flags, environment, file. */
export interface ConfigSources {
  /** `--config`; else `CITUS_HA_CONFIG`. */
  readonly file?: string
  /** `--coordinator`, repeatable; else `CITUS_HA_COORDINATOR`, URLs parted by spaces; else the file's; else `PGHOST`. */
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
  readonly coordinators: '--coordinator' | 'CITUS_HA_COORDINATOR' | 'file' | 'PGHOST'
}

export interface ReadConfig {
  readonly config: Config
  readonly origin: Origin
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
  const written = found === null ? {} : await readYaml(found.path, found.text)
  const override = coordinatorsOf(sources, written)
  const schema = configSchema(sources.env)
  const result = schema.safeParse({ ...written, ...override?.value }, { reportInput: true })
  if (!result.success) {
    const file = found === null ? 'configuration' : redact(found.path)
    throw new ConfigError(problemsOf(result.error, schema, file, override?.source ?? null))
  }
  if (sources.env.PGSERVICE && (override?.source === 'PGHOST' || result.data.coordinators.length === 0))
    throw new ConfigError(
      'PGSERVICE: citus-ha reads no service file: give --coordinator URL, or PGHOST without PGSERVICE',
    )
  if (result.data.coordinators.length === 0) throw new ConfigError(noCoordinator(found, sources))
  return {
    config: result.data,
    origin: {
      file: found && { path: found.path, by: found.by },
      coordinators: override?.source ?? 'file',
    },
    warnings: [
      ...(found ? warningsOf(found, written) : []),
      ...(sources.env.PGSERVICE ? ['PGSERVICE is ignored: citus-ha reads no service file'] : []),
    ],
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
  return env.PGHOST && !names ? override('PGHOST', ['postgres://']) : null
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

async function readYaml(path: string, text: string): Promise<Record<string, unknown>> {
  // Loaded here: most calls have no file.
  const { parseDocument } = await import('yaml')
  const document: Document.Parsed = parseDocument(text, { prettyErrors: true })
  const file = redact(path)
  const language = /\.json$/i.test(path) ? 'JSON' : 'YAML'
  const problems = flawsIn(document).map(({ linePos, code }) => {
    const [at] = linePos ?? []
    const place = at ? `${at.line}:${at.col}` : '?'
    return `${file}:${place}: not ${language}: ${SYNTAX[code] ?? code.toLowerCase().replaceAll('_', ' ')}`
  })
  if (problems.length > 0) throw new ConfigError(problems)
  const value = plain(document, file)
  if (value === null || value === undefined) return {}
  if (typeof value === 'object' && !Array.isArray(value)) return withoutEmpty(value)
  throw new ConfigError(`${file}: expected keys such as "coordinators:", got ${kindOf(value)}`)
}

type Flaw = Document.Parsed['errors'][number] | Document.Parsed['warnings'][number]

/** Keys that stand twice; or else the first error alone, since the parser guesses from there on. */
function flawsIn({ errors, warnings }: Document.Parsed): readonly Flaw[] {
  const all = [...errors, ...warnings]
  const [first, ...others] = all.filter(({ code }) => code !== 'DUPLICATE_KEY')
  if (!first) return all
  // Of what is not closed the parser says first that it is not indented.
  const same = others.find(({ pos }) => pos[0] === first.pos[0])
  return [first.code === 'BAD_INDENT' && same ? same : first]
}

/** The parser's own messages quote the source, a password perhaps: only the place and the kind are passed on. */
const SYNTAX: Readonly<Record<string, string>> = {
  BAD_INDENT: 'the indentation does not fit',
  BLOCK_AS_IMPLICIT_KEY: 'a value with “: ” in it needs quotes',
  DUPLICATE_KEY: 'this key stands here twice',
  MISSING_CHAR: 'a quote, comma, colon or closing bracket is missing',
  MULTIPLE_DOCS: 'a second document begins here',
  TAB_AS_INDENT: 'a tab as indentation: use spaces',
  TAG_RESOLVE_FAILED: 'an unknown tag: text that begins with ! needs quotes',
  UNEXPECTED_TOKEN: 'this does not belong here',
}

/** A section with nothing under it means its defaults; some are off until they are named. */
function withoutEmpty(value: object): Record<string, unknown> {
  const entries = Object.entries(value).map(([key, section]) =>
    OFF_UNTIL_NAMED.has(key) && section === null ? [key, {}] : [key, section],
  )
  return Object.fromEntries(entries.filter(([, section]) => section !== null))
}

const OFF_UNTIL_NAMED = new Set(['http', 'control'])

function plain(document: Document.Parsed, file: string): unknown {
  try {
    return document.toJS()
  } catch {
    // Text that begins with * is an alias to YAML, and there is no anchor of that name.
    throw new ConfigError(`${file}: not YAML: text that begins with * or & needs quotes`)
  }
}

function warningsOf({ path, isPublic }: Found, written: object): string[] {
  const [secret] = isPublic ? secretsIn(written, '') : []
  if (secret === undefined) return []
  return [
    `${redact(path)} has world access and holds a secret (${secret}); permissions should be u=rw,g=r (0640) or less`,
  ]
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
