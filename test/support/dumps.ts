import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findBinaries } from '../../src/demo/binaries.ts'
import type { Server } from '../../src/demo/server.ts'

const exec = promisify(execFile)

/** Whether the PostgreSQL at hand has psql and pg_dump; npm's has not. */
export async function hasClients(): Promise<boolean> {
  const { source } = await findBinaries()
  return source === 'system'
}

async function run(program: string, args: readonly string[]): Promise<string> {
  const { bindir } = await findBinaries()
  const { stdout } = await exec(join(bindir, program), [...args], { maxBuffer: 1 << 26 })
  // A random word, in releases that have it.
  return stdout.replaceAll(/^\\(un)?restrict .*\n/gm, '')
}

/** All that is defined on a server: one database as pg_dump has it, and the roles, parameters' grants too. */
export async function dumpOf(server: Server, database: string): Promise<string> {
  const [schema, roles] = await Promise.all([
    run('pg_dump', ['--schema-only', '--create', '-d', server.url(database)]),
    run('pg_dumpall', ['--globals-only', '-d', server.url(database)]),
  ])
  return `${roles}\n${schema}`
}

/** What is written in the tables of ours as well. */
export async function dataOf(server: Server, database: string): Promise<string> {
  return await run('pg_dump', ['--data-only', '--schema=citus_ha', '-d', server.url(database)])
}

/** Runs a script by PostgreSQL's own psql. */
export async function psql(
  server: Server,
  database: string,
  script: string,
  options: readonly string[] = ['-X', '-v', 'ON_ERROR_STOP=1', '-1', '-f', '-'],
): Promise<{ readonly exitCode: number | null; readonly stderr: string }> {
  const { bindir } = await findBinaries()
  const child = spawn(join(bindir, 'psql'), ['-q', '-d', server.url(database), ...options], {
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  child.stdin.on('error', () => undefined)
  child.stdin.end(script)
  const [exitCode] = await once(child, 'close')
  return { exitCode, stderr }
}
