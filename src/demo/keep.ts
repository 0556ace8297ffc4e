import { execFile } from 'node:child_process'
import { access, readdir, readFile, readlink, realpath, rm, writeFile } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { promisify } from 'node:util'
import { CitusHaError } from '../model/failure.ts'
import type { Cluster } from './cluster.ts'
import { isAlive, signal } from './processes.ts'
import { removeSharedMemory } from './shared-memory.ts'
import { waitUntil } from './wait.ts'

const run = promisify(execFile)

// Only a directory that has this file is ever removed.
const MARKER = '.citus-ha-demo'
const ORDERLY_MS = 5000

/** Lets a cluster outlive this process, for `stopKept`. */
export async function keep(cluster: Cluster): Promise<void> {
  await writeFile(join(cluster.directory, MARKER), '')
  await cluster.detach()
}

/**
 * Ends what `keep` left running, servers that are frozen or were started by hand in the directory too, and
 * removes the directory. @returns how many servers ran.
 * @throws CitusHaError where the directory is not a kept demo's; Error where something could not be ended or removed.
 */
export async function stopKept(given: string): Promise<number> {
  const directory = await realpath(given).catch(() => given)
  const isKept = await access(join(directory, MARKER)).then(
    () => true,
    () => false,
  )
  if (!isKept)
    throw new CitusHaError('usage', `${given} is not the directory of a demo that was left running`)
  const data = (await readdir(directory, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(directory, entry.name))
  const postmasters = (await Promise.all(data.map(postmasterOf))).filter((pid) => pid !== null)
  for (const pid of await processesIn(directory, postmasters)) {
    signal(pid, 'SIGCONT')
    signal(pid, 'SIGQUIT') // PostgreSQL's immediate shutdown
  }
  await waitUntil('orderly end', () => gone(directory, postmasters), { limitMs: ORDERLY_MS }).catch(() => {})
  await waitUntil(`end of the servers in ${directory}`, async () => {
    for (const pid of await processesIn(directory, postmasters)) signal(pid, 'SIGKILL')
    return await gone(directory, postmasters)
  })
  for (const each of data) removeSharedMemory(each)
  await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
  return postmasters.length
}

async function gone(directory: string, postmasters: readonly number[]): Promise<boolean> {
  return (await processesIn(directory, postmasters)).length === 0
}

/** PostgreSQL's processes at work in the directory; without /proc the postmasters, whose end ends the others. */
async function processesIn(directory: string, postmasters: readonly number[]): Promise<number[]> {
  if (process.platform !== 'linux') return postmasters.filter(isAlive)
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const inside = await Promise.all(pids.map(async (pid) => await worksIn(pid, directory)))
  return pids.filter((pid, n) => inside[n] && isAlive(pid))
}

/** Not everything in there is a server: a person's shell may be. */
async function worksIn(pid: number, directory: string): Promise<boolean> {
  const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '')
  if (!cwd.startsWith(`${directory}${sep}`)) return false
  return (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim() === 'postgres'
}

/** The running postmaster of a data directory; null where the pid file is absent, or older than its process. */
async function postmasterOf(data: string): Promise<number | null> {
  const text = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')
  const pid = Number.parseInt(text, 10)
  if (!(pid > 1) || !isAlive(pid)) return null
  if (process.platform === 'linux')
    return (await worksIn(pid, data.slice(0, data.lastIndexOf(sep)))) ? pid : null
  const command = await run('ps', ['-o', 'command=', '-p', String(pid)]).catch(() => ({ stdout: '' }))
  return command.stdout.includes(data) ? pid : null
}
