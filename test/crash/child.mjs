// Runs one citus-ha command from the build and kills this process where the change reaches a point.
// Arguments: the point, then the command line.
import { run } from '../../dist/cli/program.js'

const [point, ...args] = process.argv.slice(2)

process.exitCode = await run(args, {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signal: new AbortController().signal,
  hooks: {
    reached: async (reached) => {
      if (reached === point) process.kill(process.pid, 'SIGKILL')
    },
  },
})
