import { type ChildProcess, spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { killFamily } from './processes.ts'
import type { Server } from './server.ts'
import { removeSharedMemory } from './shared-memory.ts'

/** What has to go when this process does. */
export interface Guarded {
  readonly directory: string
  readonly servers: readonly Server[]
  stop(): Promise<void>
}

/** Ends the guarding of one cluster, after it was stopped or so that it outlives us. */
export type Release = () => void

// Runs when its standard input ends, that is when we are gone, even by SIGKILL. It kills whatever works inside
// the directory (postmasters, their children, initdb and cp do, also frozen ones), removes what they left in
// shared memory, and the directory. Without /proc it has to believe the pid files; there the children notice
// the postmaster's death.
const WATCHDOG = `
trap '' INT TERM HUP
read -r line
[ "$line" = release ] && exit 0
[ -d "$1" ] || exit 0
if [ ! -d /proc/self ]; then
  for file in "$1"/*/postmaster.pid; do kill -KILL "$(head -n 1 "$file")"; done
fi
round=0; found=yes
while [ $found = yes ] && [ $round -lt 50 ]; do
  found=no; round=$((round + 1))
  for process in /proc/[0-9]*; do
    case "$(readlink "$process/cwd")" in "$1"|"$1"/*) found=yes; kill -KILL "\${process#/proc/}";; esac
  done
done
for file in "$1"/*/postmaster.pid; do ipcrm -m "$(sed -n '7s/.* //p' "$file")"; done
rm -rf "$1"`

const guarded = new Set<Guarded>()

/**
 * Sees to it that no server and no file of a cluster survives this process: at its `exit` event at once, at
 * any other end of it (a signal that nobody handles, SIGKILL) by a small shell that notices.
 */
export function guard(cluster: Guarded): Release {
  if (guarded.size === 0) process.on('exit', killAll)
  guarded.add(cluster)
  const watchdog = startWatchdog(cluster.directory)
  return () => {
    guarded.delete(cluster)
    if (guarded.size === 0) process.off('exit', killAll)
    watchdog?.stdin?.end('release\n')
  }
}

/** Stops every cluster of this process, also those that are still starting: for signal handlers. */
export async function stopAllClusters(): Promise<void> {
  await Promise.all([...guarded].map((cluster) => cluster.stop()))
}

function startWatchdog(directory: string): ChildProcess | null {
  if (process.platform === 'win32') return null
  const child = spawn('/bin/sh', ['-c', WATCHDOG, 'citus-ha-watchdog', directory], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
  })
  child.on('error', () => {}) // the exit event is still ours
  child.stdin?.on('error', () => {})
  child.unref()
  const input: unknown = child.stdin
  if (isUnrefable(input)) input.unref()
  return child
}

/** A pipe of a child is a Socket, which Node's types do not say. */
function isUnrefable(value: unknown): value is { unref(): void } {
  return typeof value === 'object' && value !== null && 'unref' in value
}

function killAll(): void {
  for (const cluster of guarded) {
    for (const { pid, directory } of cluster.servers) {
      if (pid !== null) killFamily(pid)
      removeSharedMemory(directory)
    }
    rmSync(cluster.directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 })
  }
}
