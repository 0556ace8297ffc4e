/** What is often mistyped in YAML, and what it is read as. Of the text only names of keys are shown: a value may be a password. */
export interface Slip {
  /** From 1 on. */
  readonly line: number
  readonly col: number
  readonly says: string
  /** Everything up to the next quote or bracket is read as part of it, so that the parser complains far below. */
  readonly isOpen?: boolean
}

interface Rule {
  /** Its first group is what stands before the place that is shown; `key` is the key that is named. */
  readonly at: RegExp
  readonly says: (key: string) => string
  /** Only where the key is one of ours: any other word may be meant. */
  readonly known?: true
  readonly isOpen?: true
}

const ENTRY = '^( *(?:- +)?'
const VALUE = String.raw`^( *(?:- +)?[^\s"'#{[][^\s"'#]*: +)`

const RULES: readonly Rule[] = [
  {
    at: /^( *)-(?<key>[A-Za-z]\w*):(?: |$)/,
    says: (key) => `read as a key “-${key}”; expected a blank after the dash: “- ${key}: …”`,
  },
  {
    at: /^( *)(?=[\u00a0\u2000-\u200b\u202f\u3000])/,
    says: () => 'a blank that is no ordinary one, as copied from a web page: use spaces',
  },
  {
    at: new RegExp(`${ENTRY}(?<key>[A-Za-z]\\w*) *)=`),
    known: true,
    says: (key) => `expected “${key}: …”, got “=” instead of the colon`,
  },
  {
    at: new RegExp(`${ENTRY}(?<key>[A-Za-z]\\w*):)(?![\\s:/]|$)`),
    known: true,
    says: (key) => `read as text, not as a key; expected a blank after the colon: “${key}: …”`,
  },
  {
    at: new RegExp(`${ENTRY}[^\\s"'{[,]+:)(?=[{[])`),
    says: () => 'read as text, not as a key; expected a blank after the colon',
  },
  {
    at: new RegExp(`${ENTRY}(?<key>[A-Za-z]\\w*))(?= *(?:#|$)| +[^\\s:=][^:]*$)`),
    known: true,
    says: (key) => `read as text, not as a key; expected a colon: “${key}: …”`,
  },
  { at: new RegExp(`${VALUE}(?=[@%\`])`), says: () => 'text that begins with @, % or ` needs quotes' },
  { at: new RegExp(`${VALUE}(?=!)`), says: () => 'text that begins with ! needs quotes' },
  { at: new RegExp(`${VALUE}(?=[*&])`), says: () => 'text that begins with * or & needs quotes' },
  { at: new RegExp(`${VALUE}(?=[|>][^\\s\\d+-])`), says: () => 'text that begins with | or > needs quotes' },
  {
    at: new RegExp(`${VALUE}(?=#\\S)`),
    says: () => 'read as a comment, so that the key has no value; text that begins with # needs quotes',
  },
  {
    at: new RegExp(`${VALUE}(?=[“”„‘’])`),
    says: () => 'read as part of the text; expected plain quotes, " or \', instead of typographic ones',
  },
  { at: /^( *)(?=\* )/, says: () => 'expected “- ” at the beginning of a list entry, got “*”' },
  {
    at: new RegExp(`${VALUE}[^\\s"'#{[|>&*!][^#]*?(?=: )`),
    says: () => 'a value with “: ” in it needs quotes',
  },
  {
    at: new RegExp(`${VALUE}(?="(?:\\\\.|[^"\\\\])*$|'(?:''|[^'])*$)`),
    says: () => 'this quote is not closed',
    isOpen: true,
  },
  {
    at: new RegExp(`${VALUE}(?:"(?:\\\\.|[^"\\\\])*"|'(?:''|[^'])*')(?=[^\\s,}\\]:])`),
    says: () =>
      `the quotes end before this; a quote inside '…' is written twice, inside "…" with a backslash`,
  },
  {
    at: new RegExp(`${VALUE}"(?:\\\\[0abtnvfre "/\\\\N_LPxuU]|[^"\\\\])*(?=\\\\)`),
    says: () => 'inside "…" a backslash is written twice; inside \'…\' it is as it is',
  },
  {
    at: new RegExp(`${VALUE}(?=[{[][^}\\]]*$)`),
    says: () => 'this bracket is not closed; text that begins with { or [ needs quotes',
    isOpen: true,
  },
]

/** @param keys the names of all keys there are */
export function slipsIn(text: string, keys: ReadonlySet<string>): Slip[] {
  const lines = text.split(/\r?\n/)
  const slips = lines.flatMap((line, i) => slipIn(line, i + 1, keys) ?? [])
  const indented = indentSlip(lines)
  return indented === null || slips.some(({ line }) => line === indented.line) ? slips : [...slips, indented]
}

function slipIn(text: string, line: number, keys: ReadonlySet<string>): Slip | null {
  if (/^ *(?:#|$)/.test(text)) return null
  for (const { at, says, known, isOpen } of RULES) {
    const found = at.exec(text)
    const key = found?.groups?.key ?? ''
    if (!found || (known && !keys.has(key))) continue
    return { line, col: (found[1] ?? '').length + 1, says: says(key), ...(isOpen && { isOpen }) }
  }
  return null
}

interface Level {
  readonly indent: number
  readonly kind: 'keys' | 'list'
  readonly line: number
}

/** The first line whose indentation fits none above it. */
function indentSlip(lines: readonly string[]): Slip | null {
  const levels: Level[] = []
  // Whether the line above has something below it: its last key has no value, or it is a dash alone.
  let opens = true
  for (const [i, text] of lines.entries()) {
    const found = /^( *)((?:- +)*)(-(?= *$))?(.*?)\s*$/.exec(text)
    const [, blanks = '', dashes = '', dash = '', rest = ''] = found ?? []
    if ((rest === '' && dashes === '' && dash === '') || rest.startsWith('#') || text.startsWith('---'))
      continue
    // Text over several lines may be indented as it likes.
    if (/:\s+[|>{["'][^}\]"']*$/.test(text)) return null
    const indent = blanks.length
    const kind = dashes === '' && dash === '' ? 'keys' : 'list'
    const above = [...levels]
    while ((levels.at(-1)?.indent ?? -1) > indent) levels.pop()
    const level = levels.at(-1)
    const slip = (says: string): Slip => ({ line: i + 1, col: indent + 1, says })
    const fits = [...new Set(above.map((each) => each.indent))].join(' or ')
    if (level === undefined || level.indent < indent) {
      if (above.length > levels.length || (above.length > 0 && level === undefined))
        return slip(`indented by ${indent}, and no line above is; expected ${fits}`)
      if (!opens)
        return slip(`indented deeper than line ${level?.line}, which has a value already; expected ${fits}`)
      levels.push({ indent, kind, line: i + 1 })
    } else if (level.kind === 'list' && kind === 'keys') {
      // A list may stand at the indentation of its key, and ends where the next key begins.
      levels.pop()
      if (levels.at(-1)?.indent !== indent)
        return slip(
          `a key among the entries of a list; expected it to be indented as the key of the list, or as those inside an entry`,
        )
    } else if (level.kind === 'keys' && kind === 'list') {
      if (!opens) return slip(`a list entry among keys; expected its dash below the dash of the entry above`)
      levels.push({ indent, kind, line: i + 1 })
    }
    levels.splice(levels.length - 1, 1, { ...(levels.at(-1) as Level), line: i + 1 })
    if (dashes !== '' && rest !== '' && /^[^\s"'{[][^\s]*:(?:\s|$)/.test(rest))
      levels.push({ indent: indent + dashes.length, kind: 'keys', line: i + 1 })
    opens = dash !== '' || /:\s*(?:[&!]\S+\s*)?(?:#.*)?$/.test(rest)
  }
  return null
}
