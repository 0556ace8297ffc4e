import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { CitusHaError } from '../model/failure.ts'

/** A terminal, to be read from and written to. */
export interface Terminal {
  readonly input: NodeJS.ReadableStream
  readonly output: { write(text: string): unknown }
  readonly signal: AbortSignal
}

/**
 * One line from a terminal, which shows nothing of it: the terminal is in raw mode meanwhile, and what readline would echo goes
 * nowhere.
 * @throws CitusHaError where nothing was said: Ctrl-C, Ctrl-D, a terminal that goes away
 */
export async function askSecret(question: string, { input, output, signal }: Terminal): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input, output: nowhere, terminal: true, historySize: 0 })
  output.write(question)
  const end = () => lines.close()
  signal.addEventListener('abort', end, { once: true })
  try {
    return await new Promise<string>((resolve, reject) => {
      lines.once('line', resolve)
      lines.once('close', () => reject(new CitusHaError('usage', 'no password was given')))
    })
  } finally {
    signal.removeEventListener('abort', end)
    lines.close()
    output.write('\n')
  }
}
