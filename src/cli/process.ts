import '../navigator.ts'
import { once } from 'node:events'
import { exitCodeOfInterruption, Interrupted } from './interrupted.ts'
import { run } from './program.ts'

// `citus-ha rules | head` closes the pipe early: that is no error. A full disk is one, which ends no change that is under way.
let isCutOff = false
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE' || isCutOff) return
  isCutOff = true
  process.stderr.write(`citus-ha: the output is not complete: ${error.message}\n`)
})
process.stderr.on('error', () => undefined)
process.on('exit', (code) => {
  if (isCutOff && code === 0) process.exitCode = 1
})

// The first signal asks the command to come to an end: a change under way is finished or rolled back. The second
// one ends the process at once, wherever it is; but a terminal that is closed sends SIGHUP, and its shell may send it again.
const interrupted = new AbortController()
const inFlight = new Set<string>()
const lastWords = { say: (line: string) => void process.stderr.write(`citus-ha: ${line}\n`) }
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    // A watch reads its configuration again.
    if (signal === 'SIGHUP' && process.listenerCount(signal) > 1) return
    if (!interrupted.signal.aborted) return interrupted.abort(new Interrupted(signal))
    if (signal === 'SIGHUP') return
    const left =
      inFlight.size > 0
        ? `prepared transactions may remain: ${[...inFlight].join(', ')}`
        : 'nothing was prepared'
    lastWords.say(
      `ended during a change; ${left}. Run: citus-ha recover (any later run of reconcile or watch also does it)`,
    )
    process.exit(signal === 'SIGINT' ? 130 : 143)
  })
}

/** Where readline has the terminal, Ctrl-C is a key: it is to be what it is everywhere else. */
const interrupt = () => void process.kill(process.pid, 'SIGINT')

/** @returns whether somebody typed y or yes */
async function ask(question: string): Promise<boolean> {
  const { createInterface } = await import('node:readline/promises')
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  lines.once('SIGINT', interrupt)
  try {
    const answer = lines.question(question, { signal: interrupted.signal })
    // Ctrl-D, a terminal that goes away: nothing was said.
    const ended = once(lines, 'close').then(() => '')
    const said = await Promise.race([answer.catch(() => ''), ended])
    interrupted.signal.throwIfAborted()
    return /^y(es)?$/i.test(said.trim())
  } finally {
    lines.close()
  }
}

async function askUnseen(question: string): Promise<string> {
  const { askSecret } = await import('./ask-secret.ts')
  return await askSecret(question, {
    input: process.stdin,
    output: process.stderr,
    signal: interrupted.signal,
    interrupt,
  })
}

const exitCode = await run(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signal: interrupted.signal,
  inFlight,
  lastWords,
  ...(process.stdin.isTTY && { ask, askSecret: askUnseen }),
})

// What was given up may still wait for a node that is silent.
if (exitCode === exitCodeOfInterruption(interrupted.signal)) process.exit(exitCode)
process.exitCode = exitCode
