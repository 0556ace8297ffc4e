// Runs one citus-ha command from the build and sends this process a signal where a change first reaches a point.
// Arguments: the signal, the point, a point at which it says so on stdout and waits for stdin (or -), then the command
// line.
import { once } from 'node:events'
import { run } from '../../dist/cli/program.js'

const [signal, point, wait, ...args] = process.argv.slice(2)
let sent = false

process.exitCode = await run(args, {
  stdout: { write: () => true },
  stderr: process.stderr,
  env: process.env,
  signal: new AbortController().signal,
  hooks: {
    reached: async (reached) => {
      if (reached === point && !sent) {
        sent = true
        process.kill(process.pid, signal)
      }
      if (reached !== wait) return
      process.stdout.write(reached)
      await once(process.stdin, 'data')
    },
  },
})
