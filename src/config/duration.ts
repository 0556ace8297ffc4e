const MILLISECONDS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const BYTES = { B: 1, kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 } as const

/** The longest wait a Node timer can do is 2^31 - 1 ms; a longer one would fire at once. */
const LONGEST_MS = 24 * MILLISECONDS.d

const PART = String.raw`(\d{1,9}(?:\.\d{1,3})?)\s?`
/** The largest unit first, each at most once. */
const PARTS = new RegExp(
  `^(?=\\d)${['d', 'h', 'm(?!s)', 's', 'ms'].map((unit) => `(?:${PART}${unit}\\s?(?=\\d|$))?`).join('')}$`,
)

/** Reads `200ms`, `10s`, `5m`, `1.5h`, `1m30s`. @returns milliseconds, or null where the text is no duration. */
export function parseDuration(text: string): number | null {
  const match = /\s$/.test(text) ? null : PARTS.exec(text)
  if (!match) return null
  const { d, h, m, s, ms } = MILLISECONDS
  const parts = [d, h, m, s, ms].map((unit, i) => unit * Number(match[i + 1] ?? 0))
  const milliseconds = Math.round(parts.reduce((sum, part) => sum + part, 0))
  return milliseconds <= LONGEST_MS ? milliseconds : null
}

/** The shortest text that {@link parseDuration} reads as these milliseconds: `200ms`, `10s`, `5m`. */
export function formatDuration(milliseconds: number): string {
  const units = Object.entries(MILLISECONDS).reverse()
  const whole = units.find(([, each]) => milliseconds > 0 && milliseconds % each === 0)
  return whole ? `${milliseconds / whole[1]}${whole[0]}` : `${milliseconds}ms`
}

/** Reads `512B`, `64kB`, `16MB` as PostgreSQL does (1 kB = 1024 B). @returns bytes, or null. */
export function parseSize(text: string): number | null {
  const match = /^(\d{1,9})\s?(B|kB|MB|GB|TB)$/.exec(text)
  if (!match) return null
  const bytes = Number(match[1]) * BYTES[match[2] as keyof typeof BYTES]
  return Number.isSafeInteger(bytes) ? bytes : null
}
