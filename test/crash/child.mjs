// Runs one citus-ha command from the build and kills this process where the change reaches a point.
// Arguments: the point, a point at which it says so on stdout and waits for stdin (or -), then the command line.
import { once } from 'node:events'
import { run } from '../../dist/cli/program.js'

const [point, wait, ...args] = process.argv.slice(2)

process.exitCode = await run(args, {
  stdout: { write: () => true },
  stderr: process.stderr,
  env: process.env,
  signal: new AbortController().signal,
  hooks: {
    reached: async (reached) => {
      if (reached === point) process.kill(process.pid, 'SIGKILL')
      if (reached !== wait) return
      process.stdout.write(reached)
      await once(process.stdin, 'data')
    },
  },
})
