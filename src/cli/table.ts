import stringWidth from 'string-width'

/** How many columns of a terminal a text takes: a wide character two, a combining one none. */
export const widthOf = (text: string): number => stringWidth(text)

const GAP = '  '
const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' })

export interface Column {
  readonly head: string
  readonly align?: 'right'
  /** It may be cut to this many columns where the line is too long for the terminal; not given: never. */
  readonly least?: number
  /** Where it is cut: a name in the middle, since its beginning tells which it is and its end has the port. At the end. */
  readonly cut?: 'middle'
}

/** Cells in columns, a header first; nothing is longer than `width`, as far as columns may be cut; null: nothing is cut. */
export function inTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number | null,
): string[] {
  const lines = [columns.map(({ head }) => head), ...rows]
  const natural = columns.map((_, n) => Math.max(...lines.map((row) => widthOf(row[n] ?? ''))))
  const widths = width === null ? natural : fitted(columns, natural, width)
  return lines.map((row) =>
    columns
      .map(({ align, cut: where }, n) => {
        const room = widths[n] ?? 0
        const text = cut(row[n] ?? '', room, where ?? 'end')
        const blank = ' '.repeat(Math.max(0, room - widthOf(text)))
        return align === 'right' ? blank + text : text + blank
      })
      .join(GAP)
      .trimEnd(),
  )
}

/** What is too much is taken from the widest of the columns that may be cut, again and again. */
function fitted(columns: readonly Column[], natural: readonly number[], width: number): number[] {
  const widths = [...natural]
  const total = () => widths.reduce((sum, each) => sum + each, GAP.length * (widths.length - 1))
  for (let over = total() - width; over > 0; over--) {
    const spare = widths.map((each, n) => each - (columns[n]?.least ?? each))
    const widest = widths.reduce(
      (best, each, n) => ((spare[n] ?? 0) > 0 && each > (widths[best] ?? 0) ? n : best),
      -1,
    )
    if (widest === -1) break
    widths[widest] = (widths[widest] ?? 0) - 1
  }
  return widths
}

function cut(text: string, room: number, where: 'middle' | 'end'): string {
  if (widthOf(text) <= room) return text
  if (room <= 1) return '~'.slice(0, room)
  const all = [...graphemes.segment(text)].map(({ segment }) => segment)
  const tail = taken([...all].reverse(), where === 'end' ? 0 : Math.floor((room - 1) / 3)).reverse()
  const head = taken(all, room - 1 - widthOf(tail.join('')))
  return `${head.join('')}~${tail.join('')}`
}

function taken(parts: readonly string[], room: number): string[] {
  const some: string[] = []
  let left = room
  for (const part of parts) {
    left -= widthOf(part)
    if (left < 0) break
    some.push(part)
  }
  return some
}

/** A paragraph in lines of a width, at spaces; words that are longer stay whole, and so does the blank before the first. null: one line. */
export function wrapped(text: string, width: number | null, indent: string): string[] {
  if (width === null) return [text]
  const lines: string[] = []
  let line = /^ */.exec(text)?.[0] ?? ''
  for (const word of text.slice(line.length).split(' ')) {
    const longer = line.trim() === '' ? line + word : `${line} ${word}`
    if (line.trim() !== '' && widthOf(longer) > width) {
      lines.push(line)
      line = `${indent}${word}`
    } else line = longer
  }
  return [...lines, line]
}
