import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { type Checked, checkConfig } from '../check-config.ts'
import { sourcesOf } from '../cluster.ts'
import { addClusterOptions, type ClusterOptions } from '../cluster-options.ts'
import { type Io, plain, printJson, writeData } from '../io.ts'
import { tellWarning } from '../tell.ts'
import { packageFile } from '../version.ts'

interface CheckOptions extends ClusterOptions {
  readonly json?: boolean
}

const CHECK_HELP = `
FILE, or what every other command would read: --config, CITUS_HA_CONFIG, the user’s file, the machine’s. Files that it
names (certificates, keys, a token) are read too. It connects to no server. Exit code 0, or 2 with one problem per line.

Examples:
  citus-ha config check /etc/citus-ha/citus-ha.yaml
  ExecStartPre=/usr/local/bin/citus-ha config check /etc/citus-ha/citus-ha.yaml`

/** `citus-ha config`: about the configuration, without any server. */
export function configCommand(config: Command, io: Io, exit: (code: number) => void): void {
  addClusterOptions(config.command('check [file]').description('show every problem of a configuration'))
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', CHECK_HELP)
    .action(async (file: string | undefined, options: CheckOptions, command: Command) => {
      if (file !== undefined && options.config !== undefined)
        command.error('error: give FILE or --config, not both')
      const checked = await checkConfig(sourcesOf(options, io), file ?? null)
      const exitCode = checked.problems.length > 0 ? 2 : 0
      exit(exitCode)
      if (options.json) return printJson(io, { exitCode, ...checked })
      for (const problem of checked.problems) io.stderr.write(`citus-ha: ${plain(problem)}\n`)
      for (const warning of checked.warnings) tellWarning(io, warning)
      for (const line of exitCode === 0 ? found(checked) : []) io.stdout.write(`${plain(line)}\n`)
    })
  config
    .command('example')
    .description('print an example file with every key, its default and its meaning')
    .action(async () => {
      const [{ exampleFile }, { schemaTree }, { configSchema }] = await Promise.all([
        import('../../config/example.ts'),
        import('../../config/problems.ts'),
        import('../../config/schema.ts'),
      ])
      writeData(io.stdout, exampleFile(schemaTree(configSchema({})), schemaFile()))
    })
}

const BY = { '--config': '', CITUS_HA_CONFIG: ' (from CITUS_HA_CONFIG)', default: ' (default place)' }

function found({ file, coordinators }: Checked): string[] {
  const of = file === null ? 'no file' : `${file.path}${BY[file.by]}`
  const by = coordinators.by === 'file' ? '' : ` (from ${coordinators.by})`
  return [`${of}: no problem found`, ...coordinators.candidates.map((each) => `coordinator ${each}${by}`)]
}

/** The JSON Schema beside this program, where it is installed with it. */
function schemaFile(): string | null {
  const url = packageFile('docs/reference/configuration.schema.json')
  return existsSync(url) ? fileURLToPath(url) : null
}
