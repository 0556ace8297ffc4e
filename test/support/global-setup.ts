import { execFileSync } from 'node:child_process'
import { readdirSync, statSync, writeFileSync } from 'node:fs'
import { findBinaries } from '../../src/demo/binaries.ts'

/** Says which backend the tests run on, and builds what the command-line tests start. */
export default async function setup(): Promise<void> {
  const { version, citus, source } = await findBinaries()
  const embedded = source === 'embedded' ? ' (embedded binaries)' : ''
  const line = citus
    ? `backend: real Citus ${citus} on PostgreSQL ${version}; skipped: nothing but what this release lacks, named at the end`
    : `backend: the stand-in on PostgreSQL ${version}${embedded}; skipped: what only Citus can do (distributed queries)`
  process.stdout.write(`${line}\n`)
  if (isBuilt()) return
  // With an error in it nothing is written, so that the next run finds the error again.
  for (const args of [
    ['node_modules/typescript/bin/tsc', '-p', 'src', '--noEmitOnError'],
    ['node_modules/rolldown/bin/cli.mjs', '-c', '--logLevel', 'warn'],
  ])
    execFileSync(process.execPath, args, { stdio: 'inherit' })
  // The compiler leaves a file alone that comes out as it was: none of its own says when it ran.
  writeFileSync(BUILT, '')
}

const BUILT = 'dist/built'

/** What was built is younger than all that it is made of: building takes longer than many a test. */
function isBuilt(): boolean {
  const changed = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
  const sources = readdirSync('src', { recursive: true, encoding: 'utf8' }).map((path) => `src/${path}`)
  const of = ['npm-shrinkwrap.json', 'tsconfig.json', 'rolldown.config.js', 'src', ...sources]
  return changed(BUILT) > Math.max(...of.map(changed))
}
