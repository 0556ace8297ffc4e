import { z } from 'zod'
import { redact } from './redact.ts'
import { bare, similarTo } from './similar.ts'
import type { Slip } from './slips.ts'
import type { Place, Written } from './written.ts'

/** What of JSON Schema the configuration's has. */
export interface SchemaNode {
  readonly description?: string
  readonly title?: string
  readonly type?: string | readonly string[]
  readonly default?: unknown
  readonly examples?: readonly unknown[]
  readonly enum?: readonly string[]
  readonly const?: string
  readonly properties?: Readonly<Record<string, SchemaNode>>
  readonly items?: SchemaNode
  readonly additionalProperties?: SchemaNode | boolean
  readonly required?: readonly string[]
}

/** The keys as somebody writes them, with what is said of each. */
export function schemaTree(schema: z.ZodType): SchemaNode {
  return z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    // zod leaves out examples of what is transformed, since it takes them for results. Ours are what is written.
    override: ({ jsonSchema }) => {
      if (jsonSchema.example === undefined) return
      jsonSchema.examples = [jsonSchema.example]
      delete jsonSchema.example
    },
  }) as SchemaNode
}

type Issue = z.core.$ZodIssue

/** Key of a custom issue's `params`: what is to blame, where it is not what the issue's path leads to. */
export const BLAMED = 'blamed'

/** A file that is to blame. */
export interface Blamed {
  readonly name: string
  readonly placeOf?: Written['placeOf']
  readonly slips?: Written['slips']
}

/**
 * Everything that a schema found wrong, a line each: `file:line:column: key: expected X, got Y`; where a value was mistyped as
 * something else, what was mistyped. Keys that are unknown come first: such a one is often why another is missing.
 * @param file where it stands
 * @param override what gave `coordinators` instead of the file
 */
export function problemsOf(
  { issues }: z.ZodError,
  schema: z.ZodType,
  file: Blamed,
  override: string | null,
): string[] {
  const unknown = issues.filter(({ code }) => code === 'unrecognized_keys')
  const others = issues.filter(({ code }) => code !== 'unrecognized_keys')
  const tree = schemaTree(schema)
  return [...new Set([...unknown, ...others].flatMap((issue) => linesOf(issue, tree, file, override)))]
}

function linesOf(issue: Issue, tree: SchemaNode, file: Blamed, override: string | null): string[] {
  const blamed = issue.code === 'custom' ? issue.params?.[BLAMED] : undefined
  if (typeof blamed === 'string') return [`${blamed}: ${messageOf(issue)}`]
  if (override !== null && issue.path[0] === 'coordinators')
    return messagesOf(issue, tree).map(({ message }) => `${override}: ${message}`)
  return messagesOf(issue, tree).map(({ path, message }) => {
    const place = file.placeOf?.(path) ?? null
    const slip = place && mistyped(issue, place, file.slips ?? [])
    const at = slip ?? place
    const parts = [
      at ? `${file.name}:${at.line}:${at.col}` : file.name,
      slip ? '' : pathOf(path),
      slip?.says ?? message,
    ]
    return parts.filter((part) => part !== '').join(': ')
  })
}

interface Message {
  readonly path: readonly PropertyKey[]
  readonly message: string
}

function messagesOf(issue: Issue, tree: SchemaNode): readonly Message[] {
  if (issue.code !== 'unrecognized_keys')
    return [{ path: issue.path, message: `${messageOf(issue)}${asWritten(issue, tree)}` }]
  return issue.keys.map((key) => ({
    path: [...issue.path, key],
    message: `unknown key${meant(tree, issue.path, key)}`,
  }))
}

/** What was mistyped where the wrong thing stands: then that is to be said, and not what it was taken for. */
function mistyped({ code }: Issue, { line, end }: Place, slips: readonly Slip[]): Slip | null {
  // Of several lines all may be well written, where it is their sense that is wrong.
  const isForm = code === 'invalid_type' || code === 'unrecognized_keys'
  if (!isForm && line !== end) return null
  return slips.find((slip) => slip.line >= line && slip.line <= end) ?? null
}

/** How a list or a mapping is written, for who has written something else. */
function asWritten(issue: Issue, tree: SchemaNode): string {
  if (issue.code !== 'invalid_type' || issue.input === undefined || issue.input === null) return ''
  if (issue.expected === 'string' && typeof issue.input === 'object')
    return ': text that begins with { or [ needs quotes'
  if (issue.expected === 'array') return ': begin each entry with “- ”'
  if (issue.expected !== 'object' && issue.expected !== 'record') return ''
  if (Array.isArray(issue.input)) return ': write its keys without “- ”'
  const [key] = Object.keys(nodeAt(tree, issue.path)?.properties ?? {})
  return key === undefined ? '' : `: write keys, such as “${key}: …”`
}

/** A key of the same place that is written much like it; else those of the same name elsewhere, or of one much like it. */
function meant(tree: SchemaNode, path: readonly PropertyKey[], key: string): string {
  const here = similarTo(key, Object.keys(nodeAt(tree, path)?.properties ?? {}))
  const meant = here === null ? elsewhere(tree, key) : [here]
  return meant.length === 0 ? '' : `; did you mean ${meant.join(' or ')}?`
}

function nodeAt(tree: SchemaNode, path: readonly PropertyKey[]): SchemaNode | undefined {
  return path.reduce<SchemaNode | undefined>((node, key) => {
    const { properties, items, additionalProperties } = node ?? {}
    if (typeof key === 'number') return items
    const named = properties && Object.hasOwn(properties, key) ? properties[String(key)] : undefined
    return named ?? (typeof additionalProperties === 'object' ? additionalProperties : undefined)
  }, tree)
}

function elsewhere(tree: SchemaNode, key: string): string[] {
  const same = pathsTo(tree, bare(key))
  const near = same.length === 0 ? similarTo(key, namesIn(tree)) : null
  return near === null ? same : pathsTo(tree, bare(near))
}

/** The names of all keys, those below as well. */
export function namesIn({ properties = {}, items }: SchemaNode): string[] {
  const below = Object.entries(properties).flatMap(([name, node]) => [name, ...namesIn(node)])
  return [...below, ...(items ? namesIn(items) : [])]
}

function pathsTo({ properties = {}, items }: SchemaNode, wanted: string): string[] {
  const below = Object.entries(properties).flatMap(([name, node]) => [
    ...(bare(name) === wanted ? [name] : []),
    ...pathsTo(node, wanted).map((path) => `${name}${path.startsWith('[') ? '' : '.'}${path}`),
  ])
  return [...below, ...(items ? pathsTo(items, wanted).map((path) => `[].${path}`) : [])]
}

/** `coordinators[0].url`, `addresses["worker-1:5432"].connect`. A key may be anything, a URL with a password too. */
function pathOf(path: readonly PropertyKey[]): string {
  return path
    .map((key, i) => {
      if (typeof key === 'number') return `[${key}]`
      const name = String(key)
      if (!/^[\w-]+$/.test(name)) return `[${JSON.stringify(redact(name))}]`
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

/** What is counted, where it is no number. */
const COUNTED: Readonly<Record<string, string>> = { string: ' characters', array: ' entries' }

/**
 * What an issue of `safeParse(…, { reportInput: true })` says, in our words. Never shows the value: it may be a password in the
 * wrong place.
 */
export function messageOf(issue: Issue): string {
  if (issue.code === 'invalid_type') {
    const quotes =
      issue.expected === 'string' && /^(number|boolean|bigint)$/.test(typeof issue.input)
        ? ': put it in quotes'
        : ''
    const got =
      issue.expected === 'int' && typeof issue.input === 'number' ? 'a fraction' : kindOf(issue.input)
    return `expected ${KINDS[issue.expected] ?? issue.expected}, got ${got}${quotes}`
  }
  if (issue.code === 'invalid_value') return `expected one of ${issue.values.join(', ')}`
  if (issue.code === 'too_small' && issue.origin !== 'string' && issue.origin !== 'array') {
    return `expected ${issue.minimum} or more`
  }
  if (issue.code === 'too_big') return `expected ${issue.maximum}${COUNTED[issue.origin] ?? ''} or less`
  return issue.message
}

export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'boolean') return String(value)
  return KINDS[typeof value] ?? typeof value
}
