import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

interface Entry {
  readonly pid: number
  readonly parent: number
  readonly zombie: boolean
  readonly stopped: boolean
}

const STOP_LIMIT_MS = 1000

/** For callers that can't wait: an exit handler. */
function napOneMillisecond(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
}

/** Sends a signal; a process that is gone already is no error. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** The process runs (or is stopped); a zombie that nobody has reaped does not count. */
export function isAlive(pid: number): boolean {
  if (process.platform === 'linux') return entryOf(pid)?.zombie === false
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/**
 * A postmaster and its children. PostgreSQL gives every backend a session of its own, so a signal to the
 * process group would reach the postmaster alone.
 */
function family(postmaster: number): number[] {
  const children = processTable().filter((entry) => entry.parent === postmaster && !entry.zombie)
  return [postmaster, ...children.map((entry) => entry.pid)]
}

/** Stops a postmaster and all its children in place; the postmaster first, so that it starts no more. */
export function freezeFamily(postmaster: number): number[] {
  signal(postmaster, 'SIGSTOP')
  // The signal is on its way when kill(2) returns: a child forked meanwhile must be in the list.
  const until = performance.now() + STOP_LIMIT_MS
  while (entryOf(postmaster)?.stopped === false && performance.now() < until) napOneMillisecond()
  const members = family(postmaster)
  for (const pid of members) signal(pid, 'SIGSTOP')
  return members
}

/** Lets a stopped family go on. */
export function thawFamily(postmaster: number): void {
  for (const pid of family(postmaster).reverse()) signal(pid, 'SIGCONT')
}

/** SIGKILLs a postmaster and all its children. @returns the pids, some of which may take a moment to go. */
export function killFamily(postmaster: number): number[] {
  const members = freezeFamily(postmaster)
  for (const pid of members) signal(pid, 'SIGKILL')
  return members
}

function processTable(): Entry[] {
  if (process.platform !== 'linux') return processTableOfPs()
  const numeric = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return numeric.map((name) => entryOf(Number(name))).filter((entry) => entry !== null)
}

function entryOf(pid: number): Entry | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // proc(5): pid (comm) state ppid …; comm may hold spaces and brackets.
    const [state, parent] = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { pid, parent: Number(parent), zombie: state === 'Z' || state === 'X', stopped: state === 'T' }
  } catch {
    return null
  }
}

function processTableOfPs(): Entry[] {
  const text = execFileSync('ps', ['-axo', 'pid=,ppid=,stat='], { encoding: 'utf8' })
  return text
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .map(([pid, parent, state]) => ({
      pid: Number(pid),
      parent: Number(parent),
      zombie: state?.startsWith('Z') === true,
      stopped: state?.startsWith('T') === true,
    }))
}
