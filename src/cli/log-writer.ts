import type { LogFormat } from '../config/log-level.ts'
import { hasColors, type Io, plain, plainJson } from './io.ts'

type Written = Pick<Io, 'stderr' | 'env' | 'color'>

/** Of a line that is there in each of them, or that is said by the line's beginning. */
const LEFT_OUT = new Set(['level', 'time', 'pid', 'hostname', 'name', 'msg', 'event'])

/**
 * Writes a log's lines, which are given as JSON, on stderr: as they are, or as text for people.
 * @param format `auto`: text on a terminal, else JSON
 */
export async function logWriter(format: LogFormat, io: Written): Promise<(line: string) => void> {
  const { stderr } = io
  const isText = format === 'auto' ? stderr.isTTY === true : format === 'text'
  if (!isText) return (line) => void stderr.write(plainJson(line))
  // Loaded here: only who reads such lines should wait for it.
  const { prettyFactory } = await import('pino-pretty')
  const pretty = prettyFactory({
    colorize: hasColors({ ...io, stdout: stderr }),
    customColors: { error: 'red', warn: 'yellow', info: 'green', debug: 'blue', message: 'reset' },
    translateTime: "UTC:yyyy-mm-dd'T'HH:MM:ss.l'Z'",
    customPrettifiers: { time: String },
    ignore: 'pid,hostname,name',
    hideObject: true,
    messageFormat: (log) => [plain(String(log.msg)), ...fields(log)].join(' '),
  })
  return (line) => void stderr.write(pretty(line))
}

/** `key=value` of each that says something. */
function fields(log: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(log).flatMap(([key, value]) => {
    const text = LEFT_OUT.has(key) ? null : textOf(value)
    return text === null ? [] : [`${plain(key)}=${text}`]
  })
}

function textOf(value: unknown): string | null {
  if (typeof value === 'string') return /^[^\s"=\p{Cc}]+$/u.test(value) ? value : plain(JSON.stringify(value))
  if (typeof value !== 'object') return String(value)
  if (value === null || Object.keys(value).length === 0) return null
  return plain(JSON.stringify(value))
}
