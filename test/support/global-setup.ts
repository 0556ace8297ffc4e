import { execFileSync } from 'node:child_process'
import { findBinaries } from '../../src/demo/binaries.ts'

/** Says which backend the tests run on, and builds what the command-line tests start. */
export default async function setup(): Promise<void> {
  const { version, citus, source } = await findBinaries()
  const embedded = source === 'embedded' ? ' (embedded binaries)' : ''
  const line = citus
    ? `backend: real Citus ${citus} on PostgreSQL ${version}; skipped: nothing`
    : `backend: the stand-in on PostgreSQL ${version}${embedded}; skipped: what only Citus can do (distributed queries)`
  process.stdout.write(`${line}\n`)
  execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'src'], { stdio: 'inherit' })
}
