import { spawn } from 'node:child_process'
import { z } from 'zod'

/** One process from its start to its exit. */
export interface Timed {
  /** From just before the spawn until the exit, in milliseconds. */
  readonly wallMs: number
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a program and takes the time; never blocks this process, in which the stand-in's daemon may run.
 * @throws Error where it can't be started
 */
export function timed(program: string, args: readonly string[], stdin = ''): Promise<Timed> {
  return new Promise((resolve, reject) => {
    const started = performance.now()
    const child = spawn(program, args, { env: { PATH: process.env.PATH, HOME: '/nonexistent' } })
    let wallMs = 0
    const out: string[] = []
    const err: string[] = []
    child.stdout.setEncoding('utf8').on('data', (text: string) => out.push(text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => err.push(text))
    child.stdin.on('error', () => undefined)
    child.on('error', reject)
    child.on('exit', () => {
      wallMs = performance.now() - started
    })
    child.on('close', (exitCode) => resolve({ wallMs, exitCode, stdout: out.join(''), stderr: err.join('') }))
    child.stdin.end(stdin)
  })
}

/** What the bench reads of `reconcile --json`. */
export const reportSchema = z.object({
  outcome: z.string(),
  timings: z.record(z.string(), z.number()),
  durationMs: z.number(),
  copies: z.array(z.object({ state: z.string() })),
})

/**
 * The packaged command line, as it is started by people and hooks.
 * @throws Error where it did not end with this outcome
 */
export async function reconcileProcess(options: readonly string[], outcome: string) {
  const run = await timed(process.execPath, ['dist/bin/citus-ha.js', 'reconcile', '--json', ...options])
  const report = run.stdout === '' ? null : reportSchema.parse(JSON.parse(run.stdout))
  if (report?.outcome !== outcome || run.exitCode !== 0) {
    throw new Error(`reconcile: not ${outcome}, exit ${run.exitCode}\n${run.stdout}${run.stderr}`)
  }
  return { ...report, wallMs: run.wallMs }
}
