import type { Command } from 'commander'
import { type Io, printJson } from '../io.ts'
import { aboutProgram } from '../version.ts'

const HELP = `
Connects to no server. citus-ha status shows the version of Citus; citus-ha doctor checks the schema citus_ha of the cluster.`

/** Of this program, for whoever reports what it did. */
export function versionCommand(command: Command, io: Io): void {
  command
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', HELP)
    .action(({ json }: { readonly json?: boolean }) => {
      const about = aboutProgram()
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
