import { z } from 'zod'
import { redact } from './redact.ts'
import { bare, similarTo } from './similar.ts'

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

/**
 * Everything that a schema found wrong, a line each: `file: key: expected X, got Y`. Keys that are unknown come first: such a
 * one is often why another is missing.
 * @param file where it stands
 * @param override what gave `coordinators` instead of the file
 */
export function problemsOf(
  { issues }: z.ZodError,
  schema: z.ZodType,
  file: string,
  override: string | null,
): string[] {
  const unknown = issues.filter(({ code }) => code === 'unrecognized_keys')
  const others = issues.filter(({ code }) => code !== 'unrecognized_keys')
  const tree = unknown.length === 0 ? null : schemaTree(schema)
  return [...unknown, ...others].flatMap((issue) => linesOf(issue, tree, file, override))
}

function linesOf(issue: Issue, tree: SchemaNode | null, file: string, override: string | null): string[] {
  const overridden = override !== null && issue.path[0] === 'coordinators'
  const where = overridden ? override : file
  const line = (path: readonly PropertyKey[], message: string) =>
    [where, overridden ? '' : pathOf(path), message].filter((part) => part !== '').join(': ')
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => line([...issue.path, key], `unknown key${meant(tree, issue.path, key)}`))
  }
  const blamed = issue.code === 'custom' ? issue.params?.[BLAMED] : undefined
  return [typeof blamed === 'string' ? `${blamed}: ${messageOf(issue)}` : line(issue.path, messageOf(issue))]
}

/** A key of the same place that is written much like it; else those of the same name elsewhere, or of one much like it. */
function meant(tree: SchemaNode | null, path: readonly PropertyKey[], key: string): string {
  if (tree === null) return ''
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

function namesIn({ properties = {}, items }: SchemaNode): string[] {
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
