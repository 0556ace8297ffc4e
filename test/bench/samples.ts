/** Milliseconds, or a ratio, of one thing measured again and again. */
export type Samples = readonly number[]

/** @throws Error where nothing was measured */
export function median(samples: Samples): number {
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const [low, high] = [sorted[Math.ceil(sorted.length / 2) - 1], sorted[middle]]
  if (low === undefined || high === undefined) throw new Error('the median of nothing')
  return (low + high) / 2
}

/** The smallest sample that so many percent of them do not exceed. @throws Error where nothing was measured */
export function percentile(samples: Samples, percent: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  const found = sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)]
  if (found === undefined) throw new Error('a percentile of nothing')
  return found
}

/** One line of the table. */
export interface Line {
  readonly what: string
  readonly samples: Samples
  /** The aim: the median is to be below it, in milliseconds. */
  readonly aim?: number
  /** What the median is divided by in the column `× psql`. */
  readonly base?: Samples
}

const COLUMNS = ['median', 'min', 'max', 'n', '× psql', 'aim'] as const

/** A plain table for a terminal or a file, times in milliseconds. */
export function table(lines: readonly Line[]): string {
  const width = Math.max(...lines.map(({ what }) => what.length))
  const head = `${'ms'.padEnd(width)}${COLUMNS.map((name) => name.padStart(10)).join('')}`
  return `${[head, ...lines.map((line) => line.what.padEnd(width) + cells(line))].join('\n')}\n`
}

function cells({ samples, aim, base }: Line): string {
  if (samples.length === 0) return '   nothing was measured'
  const middle = median(samples)
  const ratio = base && base.length > 0 ? (middle / median(base)).toFixed(1) : ''
  const verdict = aim === undefined ? '' : `< ${aim} ${middle < aim ? 'met' : 'MISSED'}`
  const numbers = [middle, Math.min(...samples), Math.max(...samples)].map((ms) => ms.toFixed(1))
  return (
    [...numbers, String(samples.length), ratio].map((cell) => cell.padStart(10)).join('') +
    verdict.padStart(16)
  )
}
