import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { waitUntil } from '../../src/demo/wait.ts'

/** The program as somebody at a terminal has it: util-linux's `script` gives it one. */
export interface Terminal {
  /** Everything that was shown, both streams. */
  shown(): string
  /** Waits until that is shown. @throws Error after the usual limit */
  shows(text: string): Promise<void>
  type(keys: string): void
  /** @returns its exit code */
  ended(): Promise<number | null>
}

export function atTerminal(...args: string[]): Terminal {
  const quoted = [process.execPath, 'dist/bin/citus-ha.js', ...args].map(
    (arg) => `'${arg.replaceAll("'", `'\\''`)}'`,
  )
  const child = spawn('script', ['-qec', quoted.join(' '), '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let shown = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text
  })
  const close = once(child, 'close')
  return {
    shown: () => shown,
    shows: async (text) => {
      await waitUntil(`“${text}” at the terminal`, () => shown.includes(text))
    },
    type: (keys) => void child.stdin.write(keys),
    ended: async () => {
      const [code] = await close
      return code
    },
  }
}
