import { STOP_SERVER } from '../../model/server-commands.ts'

/** What a code asks of a person, beside what it means. Commands, names and settings stand between backticks. */
export interface Explanation {
  /** What is safe meanwhile: what citus-ha does and does not do, what goes on working, and what fails. */
  readonly meanwhile: string
  /** What to do, in order; empty: nothing. */
  readonly todo: readonly string[]
  /** The page that has more: its path in the package, with the heading. */
  readonly page: string
}

/** As part of a sentence. */
export const STOP = `\`${STOP_SERVER}\``

export const RUNBOOKS = 'docs/runbooks.md'
