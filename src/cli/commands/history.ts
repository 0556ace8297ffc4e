import type { Command } from 'commander'
import { type ChangeIn, historyEverywhere } from '../../walk/history.ts'
import {
  addClusterOptions,
  type ClusterOptions,
  databasesOf,
  requestOf,
  type Session,
  withCluster,
} from '../cluster.ts'
import { type Io, plain, printJson } from '../io.ts'
import { countOption } from '../options.ts'

interface HistoryOptions extends ClusterOptions {
  readonly limit: number
  readonly json?: boolean
}

export function historyCommand(command: Command, io: Io): void {
  addClusterOptions(command)
    .option('--limit <n>', 'show at most this many', countOption, 20)
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', '\nExample:\n  citus-ha history --config citus-ha.yaml --limit 5')
    .action(async (options: HistoryOptions) => {
      const changes = await withCluster(options, io, (session) => historyOf(session, options, io))
      if (options.json) printJson(io, { changes })
      else if (changes.length === 0) io.stdout.write('no change has been committed yet\n')
      else for (const change of changes) io.stdout.write(render(change))
    })
}

async function historyOf(session: Session, { limit }: HistoryOptions, io: Io): Promise<ChangeIn[]> {
  const databases = await databasesOf(session)
  const requests = databases.map((database) => requestOf({ ...session, database }, io))
  return await historyEverywhere(session.access, requests, limit)
}

function render({ database, timeline, epoch, decidedAt, reason, madeBy, groups }: ChangeIn) {
  return `${decidedAt}  ${plain(database)}  epoch ${timeline}/${epoch}  groups ${groups.join(', ')}  ${plain(reason)}  (${plain(madeBy)})\n`
}
