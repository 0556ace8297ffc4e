import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/** The program as its users start it, in a process of its own. */
export interface Program {
  readonly process: ChildProcess
  stdout(): string
  stderr(): string
  ended(): Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
}

export function start(...args: string[]): Program {
  const child = spawn(process.execPath, ['dist/bin/citus-ha.js', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const texts = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text
    })
  }
  const close = once(child, 'close')
  return {
    process: child,
    stdout: () => texts.stdout,
    stderr: () => texts.stderr,
    ended: async () => {
      const [code, signal] = await close
      return { code, signal }
    },
  }
}
