import { type Io, plain } from './io.ts'

/** What a command says on stderr beside its result, a line each, as `-v` and `-q` want it. Errors are said in any case. */
type Told = Pick<Io, 'stderr' | 'verbosity'>

/** What is going on. */
export function tellProgress(io: Told, line: string): void {
  if (io.verbosity?.level !== 'quiet') io.stderr.write(`${plain(line)}\n`)
}

export function tellWarning(io: Told, text: string): void {
  tellProgress(io, `warning: ${text}`)
}

/** What only somebody wants to know who looks for a fault. */
export function tellDetail(io: Told, line: string): void {
  if (io.verbosity?.level === 'verbose') tellProgress(io, line)
}
