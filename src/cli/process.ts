import '../navigator.ts'
import { once } from 'node:events'
import { exitCodeOfInterruption, Interrupted } from './interrupted.ts'
import { run } from './program.ts'

/** The command line of this process, from its arguments to its exit code. @param exit ends it at once */
export async function runProcess(exit: (code: number) => never): Promise<void> {
  const readerGone = new AbortController()
  tellCutOff(() => readerGone.abort())
  const interrupted = new AbortController()
  const inFlight = new Set<string>()
  const lastWords = { say: (line: string) => void process.stderr.write(`citus-ha: ${line}\n`) }
  const { signal } = interrupted
  // The first signal asks the command to come to an end: a change under way is finished or rolled back. The second
  // one ends the process at once, wherever it is; but a terminal that is closed sends SIGHUP, and its shell may send it again.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      // A watch reads its configuration again.
      if (name === 'SIGHUP' && process.listenerCount(name) > 1) return
      if (!signal.aborted) return interrupted.abort(new Interrupted(name))
      if (name === 'SIGHUP') return
      const left =
        inFlight.size > 0
          ? `prepared transactions may remain: ${[...inFlight].join(', ')}`
          : 'nothing was prepared'
      lastWords.say(
        `ended during a change; ${left}. Run: citus-ha recover (any later run of reconcile or watch also does it)`,
      )
      exit(new Interrupted(name).exitCode)
    })
  }

  const exitCode = await run(process.argv.slice(2), {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    signal,
    readerGone: readerGone.signal,
    inFlight,
    lastWords,
    ...(process.stdin.isTTY && {
      ask: (question: string) => ask(question, signal),
      askSecret: (question: string) => askUnseen(question, signal),
    }),
  })

  // What was given up may still wait for a node that is silent.
  if (exitCode === exitCodeOfInterruption(signal)) exit(exitCode)
  process.exitCode = exitCode
}

// `citus-ha rules | head` closes the pipe early: that is no error. A full disk is one, which ends no change that is under way.
function tellCutOff(closed: () => void): void {
  let isCutOff = false
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') closed()
    if (error.code === 'EPIPE' || isCutOff) return
    isCutOff = true
    process.stderr.write(`citus-ha: the output is not complete: ${error.message}\n`)
  })
  process.stderr.on('error', () => undefined)
  process.on('exit', (code) => {
    if (isCutOff && code === 0) process.exitCode = 1
  })
}

/** Where readline has the terminal, Ctrl-C is a key: it is to be what it is everywhere else. */
const interrupt = () => void process.kill(process.pid, 'SIGINT')

/** @returns whether somebody typed y or yes */
async function ask(question: string, signal: AbortSignal): Promise<boolean> {
  const { createInterface } = await import('node:readline/promises')
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  lines.once('SIGINT', interrupt)
  try {
    const answer = lines.question(question, { signal })
    // Ctrl-D, a terminal that goes away: nothing was said.
    const ended = once(lines, 'close').then(() => '')
    const said = await Promise.race([answer.catch(() => ''), ended])
    signal.throwIfAborted()
    return /^y(es)?$/i.test(said.trim())
  } finally {
    lines.close()
  }
}

async function askUnseen(question: string, signal: AbortSignal): Promise<string> {
  const { askSecret } = await import('./ask-secret.ts')
  return await askSecret(question, {
    input: process.stdin,
    output: process.stderr,
    signal,
    interrupt,
  })
}
