import { createColors } from 'picocolors'
import type { ChangeHooks } from '../apply/context.ts'
import type { Environment } from '../config/url.ts'

/** Where a command reads and writes; the tests hand in their own. */
export interface Io {
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Environment
  /** Where the machine's own configuration is; `/etc`. For tests, which must not depend on it. */
  readonly etc?: string
  /** Aborted by Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal
  /** Asks a person at a terminal; not there where nobody is. */
  readonly ask?: (question: string) => Promise<boolean>
  /** Asks a person at a terminal for what it is not to show; not there where nobody is. */
  readonly askSecret?: (question: string) => Promise<string>
  /** For tests, which end the process or a server where a change reaches a certain point. */
  readonly hooks?: ChangeHooks
  /** gids that may be prepared somewhere and are not resolved, kept up to date for whoever ends the process. */
  readonly inFlight?: Set<string>
}

export interface Output {
  write(text: string): unknown
  readonly isTTY?: boolean
}

export type Colors = ReturnType<typeof createColors>

/** Colours on a terminal only, and never where NO_COLOR says so. */
export function colorsFor(output: Output, env: Environment): Colors {
  return createColors(output.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb')
}

/** Names, gids, statements and messages are anybody's text: nothing in them reaches the terminal as a command, or a line. */
export function plain(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}]/gu,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

/** One JSON document on stdout. */
export function printJson(io: Io, value: unknown): void {
  const text = JSON.stringify(
    value,
    (_, item: unknown) => (typeof item === 'bigint' ? item.toString() : item),
    2,
  )
  io.stdout.write(`${text}\n`)
}
