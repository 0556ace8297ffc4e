import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { CitusHaError } from '../model/failure.ts'

/** A terminal, to be read from and written to. */
export interface Terminal {
  readonly input: NodeJS.ReadableStream
  readonly output: { write(text: string): unknown }
  readonly signal: AbortSignal
  /** Called at Ctrl-C, and to abort `signal`. */
  readonly interrupt: () => void
}

/**
 * One line from a terminal, which shows nothing of it: the terminal is in raw mode meanwhile, and what readline would echo goes
 * nowhere.
 * @throws CitusHaError where nothing was said: Ctrl-D, a terminal that goes away; the signal’s reason
 */
export async function askSecret(
  question: string,
  { input, output, signal, interrupt }: Terminal,
): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input, output: nowhere, terminal: true, historySize: 0 })
  output.write(question)
  const end = () => lines.close()
  signal.addEventListener('abort', end, { once: true })
  lines.once('SIGINT', interrupt)
  try {
    return await new Promise<string>((resolve, reject) => {
      lines.once('line', resolve)
      lines.once('close', () =>
        reject(signal.aborted ? signal.reason : new CitusHaError('usage', 'no password was given')),
      )
    })
  } finally {
    signal.removeEventListener('abort', end)
    lines.close()
    output.write('\n')
  }
}
