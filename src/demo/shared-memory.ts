import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Removes the System V segment (56 bytes) that a SIGKILLed postmaster leaves, which would otherwise stay until
 * the machine restarts; the kernel's limit is 4096 of them. Line 7 of postmaster.pid, "key id", names it. Best
 * effort, for a data directory whose server does not run; synchronous, so that an exit handler can call it.
 */
export function removeSharedMemory(data: string): void {
  let text: string
  try {
    text = readFileSync(join(data, 'postmaster.pid'), 'utf8')
  } catch {
    return // stopped cleanly
  }
  const id = /^\s*\d+\s+(\d+)\s*$/.exec(text.split('\n')[6] ?? '')?.[1]
  if (id !== undefined) spawnSync('ipcrm', ['-m', id], { stdio: 'ignore' })
}
