import type { Document, LineCounter, Node, YAMLMap, YAMLSeq } from 'yaml'
import { ConfigError } from './config-error.ts'
import { kindOf } from './problems.ts'
import { redact } from './redact.ts'
import { type Slip, slipsIn } from './slips.ts'
import type { Place, Written } from './written.ts'

/**
 * @param keys the names of all keys there are
 * @throws ConfigError
 */
export async function readYaml(
  path: string,
  text: string,
  keys: () => ReadonlySet<string>,
): Promise<Written> {
  // Loaded here: most calls have no file.
  const { parseDocument, LineCounter } = await import('yaml')
  const lineCounter = new LineCounter()
  const document: Document.Parsed = parseDocument(text, { prettyErrors: true, lineCounter })
  const file = redact(path)
  const language = /\.json$/i.test(path) ? 'JSON' : 'YAML'
  const flaws = flawsIn(document)
  if (flaws.length > 0) throw new ConfigError(tellFlaws(flaws, slipsIn(text, keys()), file, language))
  const value = plain(document, file, text, keys)
  const placeOf = (wanted: readonly PropertyKey[]) => placeIn(document, lineCounter, wanted)
  if (value === null || value === undefined) return { value: {}, placeOf, slips: [] }
  if (typeof value !== 'object' || Array.isArray(value))
    throw new ConfigError(
      tellWrongKind(slipsIn(text, keys()), file) ??
        `${file}: expected keys such as "coordinators:", got ${kindOf(value)}`,
    )
  // Whether anything is wrong at all is seen later, and slips are looked for only then.
  return {
    value: withoutEmpty(value),
    placeOf,
    get slips() {
      return slipsIn(text, keys())
    },
  }
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

/** Where the parser gives up is often the line after the slip. */
const NEAR = 1

function tellFlaws(flaws: readonly Flaw[], slips: readonly Slip[], file: string, language: string): string[] {
  const lines = flaws.map(({ linePos, code }) => {
    const [at] = linePos ?? []
    const slip = slips.find(
      ({ line, isOpen }) =>
        at !== undefined && (Math.abs(line - at.line) <= NEAR || (isOpen === true && line < at.line)),
    )
    if (slip) return placed(slip, file, `not ${language}: ${slip.says}`)
    const says = SYNTAX[code] ?? code.toLowerCase().replaceAll('_', ' ')
    return `${file}:${at ? `${at.line}:${at.col}` : '?'}: not ${language}: ${says}`
  })
  return [...new Set(lines)]
}

function placed({ line, col }: Pick<Place, 'line' | 'col'>, file: string, says: string): string {
  return `${file}:${line}:${col}: ${says}`
}

function tellWrongKind([slip]: readonly Slip[], file: string): string | null {
  return slip ? placed(slip, file, slip.says) : null
}

/** The parser's own messages quote the source, a password perhaps: only the place and the kind are passed on. */
const SYNTAX: Readonly<Record<string, string>> = {
  BAD_ALIAS: 'text that begins with * or & needs quotes',
  BAD_DQ_ESCAPE: 'inside "…" a backslash is written twice',
  BAD_INDENT: 'the indentation does not fit',
  BAD_SCALAR_START: 'text that begins with @, % or ` needs quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a value with “: ” in it needs quotes',
  DUPLICATE_KEY: 'this key stands here twice',
  MISSING_CHAR: 'a quote, comma, colon or closing bracket is missing',
  MULTILINE_IMPLICIT_KEY: 'a colon is missing here, or in the line above',
  MULTIPLE_DOCS: 'a second document begins here',
  TAB_AS_INDENT: 'a tab as indentation: use spaces',
  TAG_RESOLVE_FAILED: 'an unknown tag: text that begins with ! needs quotes',
  UNEXPECTED_TOKEN: 'this does not belong here',
}

function plain(
  document: Document.Parsed,
  file: string,
  text: string,
  keys: () => ReadonlySet<string>,
): unknown {
  try {
    return document.toJS()
  } catch {
    // Text that begins with * is an alias to YAML, and there is no anchor of that name.
    const slip = slipsIn(text, keys()).find(({ says }) => says === SYNTAX.BAD_ALIAS)
    const says = `not YAML: ${SYNTAX.BAD_ALIAS}`
    throw new ConfigError(slip ? placed(slip, file, says) : `${file}: ${says}`)
  }
}

/** A section with nothing under it means its defaults; some are off until they are named. */
function withoutEmpty(value: object): Record<string, unknown> {
  const entries = Object.entries(value).map(([key, section]) =>
    OFF_UNTIL_NAMED.has(key) && section === null ? [key, {}] : [key, section],
  )
  return Object.fromEntries(entries.filter(([, section]) => section !== null))
}

const OFF_UNTIL_NAMED = new Set(['http', 'control'])

type Ranged = Pick<Node, 'range'>

function placeIn(document: Document.Parsed, lines: LineCounter, path: readonly PropertyKey[]): Place | null {
  let node: unknown = document.contents
  let first: Ranged | null = null
  for (const key of path) {
    const step = stepTo(node, key)
    if (step === null) break
    first = step.first
    node = step.node
  }
  const start = first?.range?.[0]
  if (start === undefined) return null
  const end = (node as Ranged | null)?.range?.[1] ?? start
  const { line, col } = lines.linePos(start)
  return { line, col, end: Math.max(line, lines.linePos(Math.max(start, end - 1)).line) }
}

/** What a key leads to, and where the key itself stands, or the entry. */
function stepTo(node: unknown, key: PropertyKey): { readonly first: Ranged; readonly node: unknown } | null {
  const { items } = (node ?? {}) as Partial<YAMLMap | YAMLSeq>
  if (!items) return null
  if (typeof key === 'number') {
    const item = items[key]
    return item === undefined ? null : { first: item as Ranged, node: item }
  }
  const pair = (items as YAMLMap['items']).find(
    (each) => `${(each.key as { value?: unknown })?.value}` === key,
  )
  return pair ? { first: pair.key as Ranged, node: pair.value } : null
}
