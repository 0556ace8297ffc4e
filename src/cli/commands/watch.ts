import { type Command, Option } from 'commander'
import { LOG_LEVELS } from '../../config/log-level.ts'
import { DEFAULT_LISTENER } from '../../config/schema.ts'
import type { Report } from '../../model/outcome.ts'
import type { EachDatabase } from '../../walk/each-database.ts'
import { documentOf, exitCodeOfAll } from '../../walk/order.ts'
import { watchOnce } from '../../watch/once.ts'
import { addClusterOptions, requestOf, type Session, withCluster } from '../cluster.ts'
import { eachDatabase } from '../databases.ts'
import { type Io, printJson } from '../io.ts'
import { httpOption, logFormatOption } from '../options.ts'
import { renderReport } from '../render-report.ts'
import type { ServeOptions } from '../watch.ts'

interface WatchOptions extends ServeOptions {
  readonly once?: boolean
  readonly json?: boolean
}

const EXAMPLES = `
Runs until SIGTERM or Ctrl-C. SIGHUP reads the configuration again, SIGUSR2 changes the log level.

Examples:
  citus-ha watch --config /etc/citus-ha.yaml
  citus-ha watch --coordinator postgres://citus_ha@cn1.example/app --http
  citus-ha watch --config /etc/citus-ha.yaml --page      (http://127.0.0.1:8008/ in a browser)
  * * * * *  citus-ha watch --once --config /etc/citus-ha.yaml      (crontab)`

export function watchCommand(command: Command, io: Io, exit: (code: number) => void): void {
  addClusterOptions(command)
    .option('--once', 'survey once, make the changes that are due, and exit, as reconcile does')
    .option('--json', 'with --once: one JSON document on stdout')
    .addOption(new Option('--log-level <level>', 'level of the log lines on stderr').choices(LOG_LEVELS))
    .addOption(logFormatOption())
    .addOption(httpOption())
    .option(
      '--page',
      `also serve a page that shows the cluster, at /; without --http: on ${DEFAULT_LISTENER}`,
    )
    .addHelpText('after', EXAMPLES)
    .action(async (options: WatchOptions) => {
      if (options.json && !options.once) command.error('error: --json needs --once')
      if (options.http && options.once) command.error('error: --once serves no HTTP: omit --http')
      if (options.page && options.once) command.error('error: --once serves no page: omit --page')
      if (options.once) {
        const ran = await withCluster(options, io, (session) => once(session, io))
        exit(exitCodeOfAll(ran))
        if (options.json) printJson(io, documentOf(ran))
        else for (const report of ran.done) io.stdout.write(renderReport(report, io))
        return
      }
      // Loaded here: no other command should wait for it.
      const { serveWatch } = await import('../watch.ts')
      exit(await serveWatch(options, io))
    })
}

async function once(session: Session, io: Io): Promise<EachDatabase<Report>> {
  return await eachDatabase(session, io, (one) => watchOnce(one.access, requestOf(one, io)))
}
