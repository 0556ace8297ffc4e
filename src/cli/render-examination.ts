import type { Check, Finding, Severity } from '../doctor/check.ts'
import type { Examination } from '../walk/doctor.ts'
import { type Colors, colorsFor, type Io, plain } from './io.ts'

/** What was found in one database, for people: worst first, each with what was seen and a command: `mend:` one after which it is gone, `look:` one that shows more. */
export function renderExamination({ database, coordinator, servers, findings }: Examination, io: Io): string {
  const colors = colorsFor(io)
  const lines = [
    `${colors.bold(plain(database))}  coordinator ${coordinator}  ${colors.dim(`${servers.length} servers examined`)}`,
    ...findings.flatMap((finding, n) => linesOf(finding, findings[n + 1], colors)),
    summaryOf(findings, colors),
    ...(findings.length === 0
      ? []
      : [colors.dim(`more about each: citus-ha explain ${ids(findings).join(' ')}`)]),
  ]
  return `${lines.join('\n')}\n`
}

const ids = (findings: readonly Finding[]) => [...new Set(findings.map(({ id }) => id))]

export function renderChecks(checks: readonly Check[]): string {
  return checks
    .map(({ id, code, severity, says }) => `${id}  ${code.padEnd(26)} ${severity.padEnd(8)} ${says}\n`)
    .join('')
}

/** What several in a row have in common is said once, after the last of them. */
function linesOf(finding: Finding, next: Finding | undefined, colors: Colors): string[] {
  const { id, code, severity, summary, evidence, mend, look } = finding
  const head = `${paint(severity, colors)(severity.padEnd(7))}  ${id} ${code}: ${plain(summary)}`
  if (next && sameRest(finding, next)) return [head]
  return [
    head,
    ...evidence.map((line) => colors.dim(`         ${plain(line)}`)),
    mend === null ? `         look: ${plain(look ?? '')}` : `         mend: ${plain(mend)}`,
  ]
}

function sameRest(one: Finding, other: Finding): boolean {
  const rest = ({ id, severity, evidence, mend, look }: Finding) =>
    JSON.stringify([id, severity, evidence, mend, look])
  return rest(one) === rest(other)
}

function paint(severity: Severity, colors: Colors): (text: string) => string {
  if (severity === 'error') return colors.red
  return severity === 'warning' ? colors.yellow : colors.cyan
}

function summaryOf(findings: readonly Finding[], colors: Colors): string {
  const count = (severity: Severity) => findings.filter((finding) => finding.severity === severity).length
  const [errors, warnings] = [count('error'), count('warning')]
  if (errors + warnings === 0) return colors.green('no problem found that would make the next failover fail')
  return `${counted(errors, 'error')}, ${counted(warnings, 'warning')}`
}

const counted = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`
