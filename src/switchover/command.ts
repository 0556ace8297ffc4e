import { spawn } from 'node:child_process'
import { inOneLine } from '../model/one-line.ts'
import type { Move } from './check.ts'

const TAIL = 500
/** How long its last words may come after its end, which is told first now and then. Milliseconds. */
const WORDS_MS = 200

/** A command that was ended by us: what it has begun may still come. */
export class Unended extends Error {
  override readonly name = 'Unended'
}

/**
 * Runs a shell command for one group, with `CITUS_HA_GROUP`, `CITUS_HA_OLD_HOST`, `CITUS_HA_OLD_PORT`,
 * `CITUS_HA_NEW_HOST` and `CITUS_HA_NEW_PORT` in its environment, and ends it, with what it started, when its time is over.
 * @throws Error with what it said last
 */
export async function runCommand(command: string, { group, from, to }: Move, limitMs: number): Promise<void> {
  const env = {
    ...process.env,
    CITUS_HA_GROUP: String(group),
    CITUS_HA_OLD_HOST: from.address.host,
    CITUS_HA_OLD_PORT: String(from.address.port),
    CITUS_HA_NEW_HOST: to.address.host,
    CITUS_HA_NEW_PORT: String(to.address.port),
  }
  const child = spawn('/bin/sh', ['-c', command], { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-TAIL)
    })
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      killGroup(child.pid)
      reject(new Unended(`“${command}” did not end within ${Math.ceil(limitMs)} ms`))
    }, limitMs)
    const done = (error: Error | null) => {
      clearTimeout(timer)
      // What it leaves running may keep its pipes; nothing of that is waited for.
      child.stdout.destroy()
      child.stderr.destroy()
      if (error) reject(error)
      else resolve()
    }
    child.once('error', done)
    child.once('exit', (code, signal) => {
      clearTimeout(timer)
      if (code === 0) return done(null)
      const how = signal ? `signal ${signal}` : `exit code ${code}`
      const tell = () => {
        clearTimeout(words)
        const tail = inOneLine(said)
        done(new Error(`“${command}”: ${how}${tail ? `: ${tail}` : ''}`))
      }
      const words = setTimeout(tell, WORDS_MS)
      child.once('close', tell)
    })
  })
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended meanwhile.
  }
}
