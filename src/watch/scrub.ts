import { redact } from '../config/redact.ts'

export type Fields = Readonly<Record<string, unknown>>

/** Passwords may be in what a server or a client said: every text goes through `redact`. */
export function scrubbed(value: Fields): Fields {
  return scrub(value, 0) as Fields
}

const DEPTH = 8
const SECRET = /password|secret|token/i

function scrub(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return redact(value)
  if (typeof value === 'bigint') return value.toString()
  if (value === null || typeof value !== 'object') return value
  if (depth >= DEPTH) return '…'
  if (Array.isArray(value)) return value.map((each) => scrub(each, depth + 1))
  if (value instanceof Error) return redact(value.message)
  if ('toJSON' in value && typeof value.toJSON === 'function') return value.toJSON()
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, SECRET.test(key) ? '***' : scrub(each, depth + 1)]),
  )
}
