import type { Command } from 'commander'
import { requireCoordinator } from '../../walk/checks.ts'
import { Clock } from '../../walk/clock.ts'
import { observe, view } from '../../walk/look.ts'
import { statusDocument, statusOf } from '../../walk/status.ts'
import { addClusterOptions, type ClusterOptions, requestOf, type Session, withCluster } from '../cluster.ts'
import { eachDatabase } from '../databases.ts'
import { type Io, printJson } from '../io.ts'
import { renderStatus } from '../render-status.ts'

interface StatusOptions extends ClusterOptions {
  readonly json?: boolean
}

export function statusCommand(command: Command, io: Io, exit: (code: number) => void): void {
  addClusterOptions(command)
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', '\nExample:\n  citus-ha status --coordinator postgres://citus_ha@cn1.example/app')
    .action(async (options: StatusOptions) => {
      const { done, exitCode } = await withCluster(options, io, (session) =>
        eachDatabase(session, io, (each) => one(each, io)),
      )
      exit(Math.max(exitCode, done.every((status) => status.problems.length === 0) ? 0 : 3))
      if (options.json) printJson(io, statusDocument(done))
      else for (const status of done) io.stdout.write(renderStatus(status, io))
    })
}

async function one(session: Session, io: Io) {
  const request = { ...requestOf(session, io), mode: 'dry-run' as const }
  const survey = await observe(session.access, request, new Clock())
  requireCoordinator(survey)
  return statusOf(view(survey, session.access, request))
}
