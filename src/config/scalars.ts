import { z } from 'zod'
import { type HostPort, parseAddress } from '../model/node.ts'
import { parseDuration, parseSize } from './duration.ts'
import { redact } from './redact.ts'

/**
 * A scalar with a syntax of its own. Only these show in an error what was given; of all other values it could be
 * a password.
 */
export function expected<T>(what: string, read: (text: string) => T | null, example: string) {
  return z
    .unknown()
    .transform((value, context): T => {
      const text = typeof value === 'number' ? String(value) : value
      const result = typeof text === 'string' ? read(text) : null
      if (result !== null) return result
      context.addIssue({ code: 'custom', message: `expected ${what}, got ${shown(value)}` })
      return z.NEVER
    })
    .meta({ type: ['string', 'number'], title: what, example })
}

function shown(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'a mapping' : redact(JSON.stringify(value))
}

export const DURATION = 'a duration such as 200ms, 10s or 5m'
export const optionalDuration = expected(DURATION, parseDuration, '10s')
export const duration = optionalDuration.refine((milliseconds) => milliseconds > 0, 'expected more than zero')
export const size = expected('a size such as 512kB, 16MB or 1GB', parseSize, '16MB')
export const address = expected('an address such as db1.example:5432', parseAddress, 'db1.example:5432')
export const listener = expected(
  'an address such as 127.0.0.1:8008, or :8008 for all of the machine',
  readListener,
  '127.0.0.1:8008',
)
export const hostName = expected(
  'a host name without a port, such as citus.example',
  (text) => (parseAddress(`${text}:1`) && !text.includes(':') ? text : null),
  'citus.example',
)
export const whole = z.number().int()
/** Editors propose it, and the example of a file has it. */
export function example<T extends z.ZodType>(schema: T, value: unknown): T {
  return schema.meta({ example: value })
}
export const text = z.string().min(1, 'expected text, got an empty one')

/** `:8008`, as exporters for Prometheus take it: every address of the machine. */
const ALL_ADDRESSES = '0.0.0.0'

/**
 * Where to listen. Port 0 lets the system choose; `:8008` is every address of the machine, and `8008` this machine alone, as
 * without any address.
 * @returns null where the text is no address
 */
export function readListener(text: string): HostPort | null {
  const port = /^(:?)\d{1,5}$/.exec(text)
  const given = port ? `${port[1] === ':' ? ALL_ADDRESSES : '127.0.0.1:'}${text}` : text
  const parsed = parseAddress(given.replace(/:0$/, ':1'))
  return parsed && given.endsWith(':0') ? { host: parsed.host, port: 0 } : parsed
}
