import { wrapped } from './table.ts'

/** Where a paragraph of a help text was broken by hand. */
const BROKEN_AT = 80
/** Longer lines are hard to read, however wide the terminal is. */
const LONGEST = 120

/**
 * A help text as wide as the terminal: paragraphs and lists of exit codes are wrapped. Commands to copy stay as they are, and what
 * commander has laid out does. Null: no terminal.
 */
export function fittedHelp(text: string, width: number | null): string {
  if (width === null) return text
  const room = Math.min(width, LONGEST)
  const lines: string[] = []
  let paragraph = ''
  let last = ''
  const end = () => {
    if (paragraph !== '') lines.push(...wrapped(paragraph, room, ''))
    paragraph = ''
  }
  for (const line of text.split('\n')) {
    const continues = paragraph !== '' && last.length >= BROKEN_AT && !/^(?:--|Exit codes:)/.test(line)
    const code = /^ {2}\d+ +/.exec(line)?.[0]
    if (!/^\S/.test(line) || !continues) end()
    if (/^\S/.test(line)) paragraph = paragraph === '' ? line : `${paragraph} ${line}`
    else lines.push(...(code === undefined ? [line] : hanging(code, line.slice(code.length), room)))
    last = line
  }
  end()
  return lines.join('\n')
}

function hanging(head: string, text: string, width: number): string[] {
  const blank = ' '.repeat(head.length)
  return wrapped(text, width - head.length, '').map((line, n) => (n === 0 ? head : blank) + line)
}
