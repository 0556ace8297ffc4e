#!/usr/bin/env node
import { run } from './cli/program.ts'

// A password inside a URL would be there for everybody to see in the list of processes.
process.title = 'citus-ha'

// `citus-ha rules | head` closes the pipe early: that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

// The first signal asks the command to come to an end: a change under way is finished or rolled back. The
// second one is the system's own, and ends the process at once.
const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort())

process.exitCode = await run(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signal: interrupted.signal,
})
