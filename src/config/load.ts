import { readFile as readFromDisk } from 'node:fs/promises'
import type { Document } from 'yaml'
import type { z } from 'zod'
import { ConfigError } from './config-error.ts'
import { type Config, configSchema } from './schema.ts'
import { READING } from './secret-file.ts'
import type { Environment } from './url.ts'

/** Where the configuration comes from; what stands first wins: flags, environment, file. */
export interface ConfigSources {
  /** `--config`; else `CITUS_HA_CONFIG`. */
  readonly file?: string
  /** `--coordinator`, repeatable; else `CITUS_HA_COORDINATOR`, URLs parted by spaces; else the file's. */
  readonly coordinators?: readonly string[]
  readonly env: Environment
  /** How a file is read, for tests and other hosts. */
  readonly readFile?: (path: string) => Promise<string>
}

/** @throws ConfigError with one line that names the file, flag or variable, the key, and what it expects. */
export async function loadConfig(sources: ConfigSources): Promise<Config> {
  const file = sources.file ?? (sources.env.CITUS_HA_CONFIG || undefined)
  const written = file === undefined ? {} : await readYaml(file, sources.readFile ?? readUtf8)
  const override = coordinatorsOf(sources)
  const result = configSchema(sources.env).safeParse(
    { ...written, ...override?.value },
    { reportInput: true },
  )
  if (!result.success) throw new ConfigError(describe(result.error, file ?? 'configuration', override))
  if (result.data.coordinators.length === 0) {
    const where = file === undefined ? '' : `${file}: `
    throw new ConfigError(
      `${where}no coordinator: give --coordinator URL, --config FILE or CITUS_HA_COORDINATOR`,
    )
  }
  return result.data
}

interface Override {
  readonly source: string
  readonly value: { readonly coordinators: readonly { readonly url: string }[] }
}

function coordinatorsOf({ coordinators, env }: ConfigSources): Override | null {
  if (coordinators?.length) return { source: '--coordinator', value: { coordinators: asUrls(coordinators) } }
  const urls = splitUrls(env.CITUS_HA_COORDINATOR ?? '')
  return urls.length ? { source: 'CITUS_HA_COORDINATOR', value: { coordinators: asUrls(urls) } } : null
}

/** A comma parts URLs only where a new one begins: inside one it parts hosts. */
function splitUrls(text: string): string[] {
  return text.split(/\s+|,\s*(?=postgres(?:ql)?:\/\/)/).filter((url) => url !== '' && url !== ',')
}

function asUrls(urls: readonly string[]): { url: string }[] {
  return urls.map((url) => ({ url }))
}

function readUtf8(path: string): Promise<string> {
  return readFromDisk(path, 'utf8')
}

async function readYaml(
  file: string,
  readFile: (path: string) => Promise<string>,
): Promise<Record<string, unknown>> {
  const text = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError(`${file}: ${READING[error.code ?? ''] ?? 'cannot be read'}`, { cause: error })
  })
  // Loaded here: most calls have no file.
  const { parseDocument } = await import('yaml')
  const document: Document.Parsed = parseDocument(text, { prettyErrors: true })
  // The parser's own messages quote the source, a password perhaps: only the place and the kind are passed on.
  const [problem] = [...document.errors, ...document.warnings]
  if (problem) {
    const [at] = problem.linePos ?? []
    const place = at ? `${at.line}:${at.col}` : '?'
    throw new ConfigError(`${file}:${place}: not YAML: ${problem.code.toLowerCase().replaceAll('_', ' ')}`)
  }
  const value = plain(document, file)
  if (value === null || value === undefined) return {}
  if (typeof value === 'object' && !Array.isArray(value)) return withoutEmpty(value)
  throw new ConfigError(`${file}: expected keys such as "coordinators:", got ${kindOf(value)}`)
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

type Issue = z.core.$ZodIssue

function describe(error: z.ZodError, file: string, override: Override | null): string {
  const [first, ...others] = error.issues.flatMap((issue) => linesOf(issue, file, override))
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`
  return `${first}${more}`
}

function linesOf(issue: Issue, file: string, override: Override | null): string[] {
  const overridden = override !== null && issue.path[0] === 'coordinators'
  const line = (path: readonly PropertyKey[], message: string) =>
    [overridden ? override.source : file, ...(overridden ? [] : [pathOf(path)]), message]
      .filter((part) => part !== '')
      .join(': ')
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => line([...issue.path, key], 'unknown key'))
  }
  return [line(issue.path, messageOf(issue))]
}

/** `coordinators[0].url`, `addresses["worker-1:5432"].connect`. */
function pathOf(path: readonly PropertyKey[]): string {
  return path
    .map((key, i) => {
      if (typeof key === 'number') return `[${key}]`
      const name = String(key)
      if (!/^[\w-]+$/.test(name)) return `[${JSON.stringify(name)}]`
      return i === 0 ? name : `.${name}`
    })
    .join('')
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  array: 'a list',
  object: 'a mapping',
  record: 'a mapping',
  boolean: 'true or false',
}

/** Never shows the value: it may be a password in the wrong place. */
function messageOf(issue: Issue): string {
  if (issue.code === 'invalid_type') {
    return `expected ${KINDS[issue.expected] ?? issue.expected}, got ${kindOf(issue.input)}`
  }
  if (issue.code === 'invalid_value') return `expected one of ${issue.values.join(', ')}`
  if (issue.code === 'too_small' && issue.origin !== 'string' && issue.origin !== 'array') {
    return `expected ${issue.minimum} or more`
  }
  if (issue.code === 'too_big') return `expected ${issue.maximum} or less`
  return issue.message
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  return KINDS[typeof value] ?? typeof value
}
