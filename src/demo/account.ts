import { execFile } from 'node:child_process'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { Binaries } from './binaries.ts'

const run = promisify(execFile)

/** The operating system's account that servers run as. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

/**
 * PostgreSQL refuses to run as root: then it is `postgres`, or `nobody`.
 * @returns null where the servers run as whoever we are.
 */
export async function serverAccount(): Promise<Account | null> {
  if (process.getuid?.() !== 0) return null
  for (const name of ['postgres', 'nobody']) {
    const uid = await idOf('-u', name)
    const gid = await idOf('-g', name)
    if (uid && gid) return { uid, gid }
  }
  throw new Error('PostgreSQL does not run as root, and there is no account `postgres` or `nobody`')
}

async function idOf(option: '-u' | '-g', name: string): Promise<number | null> {
  const result = await run('id', [option, name]).catch(() => null)
  return result ? Number(result.stdout) : null
}

/**
 * Makes sure that the account can run the programs; copies an installation it can't reach (under /root, say)
 * into `directory`. @returns the binaries to use.
 */
export async function reachableBinaries(
  binaries: Binaries,
  account: Account | null,
  directory: string,
): Promise<Binaries> {
  if (account === null || (await canRun(binaries.bindir, account))) return binaries
  const native = join(directory, 'native')
  await run('cp', ['-a', dirname(binaries.bindir), native])
  await run('chown', ['-R', `${account.uid}:${account.gid}`, native])
  return { ...binaries, bindir: join(native, 'bin') }
}

async function canRun(bindir: string, account: Account): Promise<boolean> {
  const attempt = run(join(bindir, 'postgres'), ['--version'], { ...account, cwd: '/' })
  return attempt.then(
    () => true,
    () => false,
  )
}
