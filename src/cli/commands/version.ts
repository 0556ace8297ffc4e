import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { currentMigration } from '../../install/migrations.ts'
import { type Io, printJson } from '../io.ts'
import { packageVersion } from '../version.ts'

const HELP = `
Connects to no server. citus-ha status shows the version of Citus; citus-ha doctor checks the schema citus_ha of the cluster.`

/** Of this program, for whoever reports what it did. */
export function versionCommand(command: Command, io: Io): void {
  command
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', HELP)
    .action(({ json }: { readonly json?: boolean }) => {
      const about = {
        version: packageVersion(),
        commit: commit(),
        migration: currentMigration(),
        node: process.version,
        platform: `${process.platform} ${process.arch}`,
      }
      if (json) return printJson(io, about)
      io.stdout.write(
        [
          `citus-ha         ${about.version}${about.commit === null ? '' : ` (commit ${about.commit})`}`,
          `schema citus_ha  migration ${about.migration}`,
          `Node.js          ${about.node} on ${about.platform}`,
          '',
        ].join('\n'),
      )
    })
}

/** What the bundle was built of, which has it beside itself; null: it is not a bundle, or of no repository. */
function commit(): string | null {
  try {
    return readFileSync(new URL('./COMMIT', import.meta.url), 'utf8').trim()
  } catch {
    return null
  }
}
