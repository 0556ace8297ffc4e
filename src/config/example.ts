import { stringify } from 'yaml'
import type { SchemaNode } from './problems.ts'

const HEAD = [
  '# The configuration of citus-ha. A key with # before it is not set: it shows the default or, where there is none, an example.',
  '# To check a file: citus-ha config check FILE',
]

/**
 * A whole configuration file, commented: made of the schema, as it is given in {@link SchemaNode}.
 * @param schema where editors find the JSON Schema: a path or a URL; null: they are not told
 */
export function exampleFile(tree: SchemaNode, schema: string | null): string {
  const modeline = schema === null ? [] : [`# yaml-language-server: $schema=${schema}`]
  const sections = Object.entries(tree.properties ?? {}).map(([name, node]) => {
    const isNeeded = name === 'coordinators'
    return ['', ...keyLines(name, node, { indent: '', off: isNeeded ? '' : '#' })]
  })
  return [...modeline, ...HEAD, ...sections.flat(), ''].join('\n')
}

interface Place {
  readonly indent: string
  /** What stands before a key that is not in force. */
  readonly off: '' | '#'
}

function keyLines(name: string, node: SchemaNode, { indent, off }: Place): string[] {
  const about = node.description === undefined ? [] : [`${indent}# ${node.description}`]
  const key = `${indent}${off}${stringify(name).trimEnd()}:`
  const below = childLines(node, { indent: `${indent}  `, off })
  const value = valueFor(node)
  return [...about, ...(below.length > 0 ? [key, ...below] : [`${key} ${inline(value)}`])]
}

/** What stands under the key; nothing where its value stands behind it. */
function childLines(
  { properties, items, additionalProperties, examples }: SchemaNode,
  place: Place,
): string[] {
  if (properties) return mappingLines(properties, place)
  if (items?.properties) {
    return inList(mappingLines(items.properties, { ...place, indent: `${place.indent}  ` }), place)
  }
  if (typeof additionalProperties !== 'object') return []
  const [named] = examples ?? []
  return Object.entries(named ?? {}).flatMap(([name, example]) =>
    keyLines(
      name,
      { ...additionalProperties, ...(typeof example === 'string' && { examples: [example] }) },
      place,
    ),
  )
}

function mappingLines(properties: NonNullable<SchemaNode['properties']>, place: Place): string[] {
  return (
    Object.entries(properties)
      // Secrets belong in a file of their own, which another key names.
      .filter(([name]) => name !== 'password' && !Object.hasOwn(properties, `${name}File`))
      .flatMap(([name, node]) => keyLines(name, node, place))
  )
}

/** The first key of a mapping in a list has the list's dash before it. */
function inList(lines: readonly string[], { indent, off }: Place): string[] {
  const first = lines.findIndex((line) => !line.trimStart().startsWith('# '))
  return lines.map((line, i) => {
    if (i > first) return line
    const text = line.trimStart()
    return i === first ? `${indent}${off}- ${text.slice(off.length)}` : `${indent}${text}`
  })
}

function valueFor({ default: value, examples, enum: words, const: word }: SchemaNode): unknown {
  const hasDefault = value !== undefined && !isEmpty(value)
  return hasDefault ? value : (examples?.[0] ?? words?.[0] ?? word ?? value)
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}

function inline(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trimEnd()
}
