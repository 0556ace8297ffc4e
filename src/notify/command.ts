import { spawn } from 'node:child_process'
import { redact } from '../config/redact.ts'
import type { Environment } from '../config/url.ts'
import { timeLimit } from '../time-limit.ts'
import type { Notification } from './notification.ts'
import type { Delivery } from './target.ts'

const SAID = 500

/**
 * Runs a program with the notification on its stdin, without a shell; it is ended with all its children when the time is
 * over. A program that fails is not run again for the same event. Never throws.
 */
export function commandDelivery(
  [program, ...args]: readonly [string, ...string[]],
  timeoutMs: number,
  env: Environment,
) {
  return async ({ id, event, body }: Notification, signal: AbortSignal): Promise<Delivery> => {
    const given = { ...env, CITUS_HA_EVENT: event, CITUS_HA_EVENT_ID: id }
    return await new Promise<Delivery>((resolve) => {
      const refused = (why: string) => resolve({ kind: 'refused', why })
      // A group of its own, so that its children can be ended with it.
      const child = spawn(program, args, { env: given, stdio: ['pipe', 'ignore', 'pipe'], detached: true })
      const time = timeLimit(timeoutMs)
      const limit = AbortSignal.any([signal, time.signal])
      const end = () => endGroup(child.pid)
      limit.addEventListener('abort', end, { once: true })
      const over = () => {
        time.clear()
        limit.removeEventListener('abort', end)
      }
      let said = ''
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(-SAID)
      })
      child.once('error', (error: NodeJS.ErrnoException) => {
        over()
        refused(`${program} cannot be run: ${error.code ?? error.message}`)
      })
      child.once('exit', (code, killedBy) => {
        over()
        // What it started holds its stderr open, perhaps, and is left alone.
        child.stderr.destroy()
        if (code === 0) return resolve({ kind: 'sent' })
        const how = limit.aborted ? `no end within ${timeoutMs} ms` : `ended with ${code ?? killedBy}`
        const last = redact(said.trim().split('\n').at(-1) ?? '')
        refused(last === '' ? how : `${how}: ${last}`)
      })
      // It need not read what it is given.
      child.stdin.on('error', () => undefined)
      child.stdin.end(body)
    })
  }
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It is gone already.
  }
}
