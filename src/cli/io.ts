import { createColors } from 'picocolors'
import type { ChangeHooks } from '../apply/hooks.ts'
import type { Environment } from '../config/url.ts'
import { inAscii, isUtf8 } from './locale.ts'

/** Where a command reads and writes; the tests hand in their own. */
export interface Io {
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Environment
  /** Where the machine's own configuration is; `/etc`. For tests, which must not depend on it. */
  readonly etc?: string
  /** What `--color` says, once the command line is read. */
  readonly color?: { mode: ColorMode }
  /** What `-v` and `-q` say, once the command line is read. */
  readonly verbosity?: { level: Verbosity }
  /** Shows whom the command waits for. */
  readonly waiting?: WaitingLine
  /** Aborted by Ctrl-C, SIGTERM or SIGHUP, with an `Interrupted`. */
  readonly signal: AbortSignal
  /** Aborted once nothing reads stdout any more: what is only printed again and again ends then, and nothing else. */
  readonly readerGone?: AbortSignal
  /** Asks a person at a terminal; not there where nobody is. */
  readonly ask?: (question: string) => Promise<boolean>
  /** Asks a person at a terminal for what it is not to show; not there where nobody is. */
  readonly askSecret?: (question: string) => Promise<string>
  /** For tests, which end the process or a server where a change reaches a certain point. */
  readonly hooks?: ChangeHooks
  /** Says why the process ends in the middle of all; a command may have it said in its own way. */
  readonly lastWords?: { say: (line: string) => void }
  /** gids that may be prepared somewhere and are not resolved, kept up to date for whoever ends the process. */
  readonly inFlight?: Set<string>
}

/** The line that says whom a command waits for. */
export interface WaitingLine {
  /** @param on whom @param limitMs at most, in milliseconds @returns to be called when that is over */
  begin(on: string, limitMs: number): () => void
}

export interface Output {
  write(text: string): unknown
  /** As `write`, for what programs read: it is left as it is, whatever the locale. Not there: `write` leaves everything. */
  writeData?(text: string): unknown
  readonly isTTY?: boolean
  /** Of a terminal. */
  readonly columns?: number
  readonly rows?: number
}

/** When there are colours, as `--color` says. */
export const COLOR_MODES = ['auto', 'always', 'never'] as const
export type ColorMode = (typeof COLOR_MODES)[number]

/** How much is said on stderr. */
export type Verbosity = 'quiet' | 'normal' | 'verbose'

export type Colors = ReturnType<typeof createColors>

/** Of what is printed on stdout. */
export function colorsFor(io: Pick<Io, 'stdout' | 'env' | 'color'>): Colors {
  return createColors(hasColors(io))
}

/**
 * `--color`, then https://no-color.org, then FORCE_COLOR (as Node reads it) and https://bixense.com/clicolors; else where a
 * terminal can show them.
 */
export function hasColors({ stdout, env, color }: Pick<Io, 'stdout' | 'env' | 'color'>): boolean {
  if (color?.mode === 'always') return true
  if (color?.mode === 'never' || env.NO_COLOR) return false
  if (env.FORCE_COLOR) return env.FORCE_COLOR !== '0' && env.FORCE_COLOR !== 'false'
  if (env.CLICOLOR_FORCE) return env.CLICOLOR_FORCE !== '0'
  return stdout.isTTY === true && env.TERM !== 'dumb' && env.CLICOLOR !== '0'
}

/** The columns that a line may have; null: any number, in a file or a pipe. */
export function widthFor(output: Output, env: Environment): number | null {
  if (output.isTTY !== true) return null
  return countIn(env.COLUMNS) ?? (output.columns || 80)
}

/** The lines that are seen at once; null: no terminal. */
export function heightFor(output: Output, env: Environment): number | null {
  if (output.isTTY !== true) return null
  return countIn(env.LINES) ?? (output.rows || 24)
}

function countIn(text: string | undefined): number | null {
  return /^[1-9]\d{0,5}$/.test(text ?? '') ? Number(text) : null
}

/** As the locale can show it. */
export function inLocale(io: Io): Io {
  if (isUtf8(io.env)) return io
  const ascii = (output: Output) =>
    through(
      output,
      (text, write) => write(inAscii(text)),
      (text, write) => write(text),
    )
  return { ...io, stdout: ascii(io.stdout), stderr: ascii(io.stderr) }
}

type Passing = (text: string, write: (text: string) => void) => void

/** The same output, with something done to each text on its way; `passData`: to what programs read. */
export function through(output: Output, pass: Passing, passData: Passing): Output {
  return {
    write: (text) => pass(text, (each) => output.write(each)),
    writeData: (text) => passData(text, (each) => writeData(output, each)),
    get isTTY() {
      return output.isTTY === true
    },
    // As long as the terminal is: it may be another size the next time.
    get columns() {
      return output.columns ?? 0
    },
    get rows() {
      return output.rows ?? 0
    },
  }
}

/** Names, gids, statements and messages are anybody's text: nothing in them reaches the terminal as a command, a line, or in another order. */
export function plain(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (char) => `\\x${(char.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`,
  )
}

/** JSON that says the same, with nothing in it that a terminal would obey beside the line's end. */
export function plainJson(text: string): string {
  return text.replace(
    /[\x7f-\x9f\p{Zl}\p{Zp}\p{Bidi_Control}]/gu,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** One JSON document on stdout. */
export function printJson(io: Io, value: unknown): void {
  const text = JSON.stringify(
    value,
    (_, item: unknown) => (typeof item === 'bigint' ? item.toString() : item),
    2,
  )
  writeData(io.stdout, `${plainJson(text)}\n`)
}

/** For programs. */
export function writeData(output: Output, text: string): void {
  if (output.writeData) output.writeData(text)
  else output.write(text)
}
