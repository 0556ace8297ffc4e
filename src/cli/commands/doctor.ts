import type { Command } from 'commander'
import { CHECKS } from '../../doctor/checks.ts'
import { type Examination, examineDatabase } from '../../walk/doctor.ts'
import {
  addClusterOptions,
  asTyped,
  type ClusterOptions,
  databasesOf,
  requestOf,
  type Session,
  withCluster,
} from '../cluster.ts'
import { type Io, printJson } from '../io.ts'
import { renderChecks, renderExamination } from '../render-examination.ts'

interface DoctorOptions extends ClusterOptions {
  readonly json?: boolean
  readonly list?: boolean
}

const HELP = `
Changes nothing and takes no lock. Run it as the role that the other commands run as: it also reports what that role may
not see. mend: a command after which the finding is gone, once the words in CAPITALS are filled in; look: a command that
changes nothing, where a person has to decide. Exit code 0, or 3 with a finding of severity error.

Examples:
  citus-ha doctor --coordinator postgres://citus_ha@cn1.example/app
  citus-ha doctor --config citus-ha.yaml --json`

export function doctorCommand(command: Command, io: Io, exit: (code: number) => void): void {
  addClusterOptions(command)
    .option('--list', 'list the checks with their ids; connects to no server')
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', HELP)
    .action(async (options: DoctorOptions) => {
      if (options.list) return list(options, io)
      const { done: found, failed } = await withCluster(options, io, (session) => examineAll(session, io))
      const typed = asTyped(options)
      const done = found.map((each) => ({
        ...each,
        findings: each.findings.map((finding) => ({
          ...finding,
          mend: finding.mend && typed(finding.mend),
          look: finding.look && typed(finding.look),
        })),
      }))
      const hasError = done.some(({ findings }) => findings.some(({ severity }) => severity === 'error'))
      exit(hasError ? 3 : 0)
      if (done.length > 0 && options.json) printJson(io, { ...done[0], databases: done })
      else for (const each of done) io.stdout.write(renderExamination(each, io))
      // After what the others gave: one database that can't be looked at takes nothing from them.
      if (failed.length > 0) throw failed[0]
    })
}

function list({ json }: DoctorOptions, io: Io): void {
  if (json) printJson(io, { checks: CHECKS.map(({ when: _, ...check }) => check) })
  else io.stdout.write(renderChecks(CHECKS))
}

async function examineAll(session: Session, io: Io): Promise<{ done: Examination[]; failed: unknown[] }> {
  const names = await databasesOf(session)
  const { access, config } = session
  const results = await Promise.allSettled(
    names.map((database) =>
      examineDatabase(access, requestOf({ ...session, database }, io), config.routing.maxLag),
    ),
  )
  return {
    done: results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])),
    failed: results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : [])),
  }
}
