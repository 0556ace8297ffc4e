import type { Command } from 'commander'
import { requireCoordinator } from '../../walk/checks.ts'
import { Clock } from '../../walk/clock.ts'
import { type PastChange, readHistory } from '../../walk/history.ts'
import { observe } from '../../walk/look.ts'
import {
  addClusterOptions,
  type ClusterOptions,
  databasesOf,
  requestOf,
  type Session,
  withCluster,
} from '../cluster.ts'
import { type Io, printJson } from '../io.ts'
import { countOption } from '../options.ts'

interface HistoryOptions extends ClusterOptions {
  readonly limit: number
  readonly json?: boolean
}

export function historyCommand(program: Command, io: Io): void {
  addClusterOptions(program.command('history'))
    .description('the changes that were decided, newest first')
    .option('--limit <n>', 'how many at the most', countOption, 20)
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', '\nExample:\n  citus-ha history --config citus-ha.yaml --limit 5')
    .action(async (options: HistoryOptions) => {
      const changes = await withCluster(options, io, (session) => historyOf(session, options, io))
      if (options.json) printJson(io, { changes })
      else if (changes.length === 0) io.stdout.write('no change was decided yet\n')
      else for (const change of changes) io.stdout.write(render(change))
    })
}

async function historyOf(session: Session, { limit }: HistoryOptions, io: Io) {
  const all: (PastChange & { database: string })[] = []
  for (const database of await databasesOf(session)) {
    const request = { ...requestOf(session, io), database }
    const coordinator = requireCoordinator(await observe(session.access, request, new Clock()))
    const changes = await readHistory(session.access, coordinator.address, database, limit)
    all.push(...changes.map((change) => ({ database, ...change })))
  }
  return all.sort((a, b) => b.decidedAt.localeCompare(a.decidedAt)).slice(0, limit)
}

function render({
  database,
  timeline,
  epoch,
  decidedAt,
  reason,
  madeBy,
  groups,
}: PastChange & { database: string }) {
  return `${decidedAt}  ${database}  epoch ${timeline}/${epoch}  groups ${groups.join(', ')}  ${reason}  (${madeBy})\n`
}
