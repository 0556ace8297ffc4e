import { describeBlocker } from '../apply/blockers.ts'
import { everyCopy, type Outcome, plannedText, type Report } from '../model/outcome.ts'
import { type Colors, colorsFor, type Io, plain } from './io.ts'

const HEADLINES: Readonly<Record<Exclude<Outcome, 'converged' | 'changed' | 'planned'>, string>> = {
  refused: 'refused: the evidence does not allow a change',
  blocked: 'blocked: nothing was changed',
  unproved:
    'committed or in doubt, but not yet verified on every node, or an old primary is not fenced (see below); run reconcile again',
}

/** Its commands as `asTyped` has them, in every text. */
export function withTyped(report: Report, typed: (text: string) => string): Report {
  const inRemark = <R extends { readonly text: string }>(each: R): R => ({ ...each, text: typed(each.text) })
  return {
    ...report,
    reason: inRemark(report.reason),
    remarks: report.remarks.map(inRemark),
    refusals: report.refusals.map((each) => ({
      ...each,
      summary: typed(each.summary),
      next: typed(each.next),
    })),
    copies: report.copies.map((each) => ({ ...each, detail: each.detail && typed(each.detail) })),
    unfenced: report.unfenced.map(typed),
    warnings: report.warnings.map(typed),
  }
}

/** A report for people. */
export function renderReport(report: Report, io: Io): string {
  const colors = colorsFor(io)
  const lines = [
    `${colors.bold(plain(report.database))}: ${headline(report, colors)}`,
    ...report.refusals.flatMap((refusal) => [
      colors.red(`  group ${refusal.group}: ${refusal.reason} (${refusal.rule}): ${plain(refusal.summary)}`),
      ...refusal.evidence.map((line) => `    ${plain(line)}`),
      `    next: ${plain(refusal.next)}`,
    ]),
    ...explainHint(report),
    ...report.changes.map(
      (change) =>
        `  group ${change.group}, node ${change.nodeid}: ${plain(`${change.from} -> ${change.to}`)}  ${colors.dim(`${change.kind}: ${change.why}`)}`,
    ),
    ...report.copies.map((copy) => {
      const time = copy.convergedMs ? ` after ${copy.convergedMs.toFixed(1)} ms` : ''
      const state = copy.state === 'right' ? colors.green('up to date') : colors.yellow(copy.state)
      return `  ${plain(copy.node)} (${copy.role}): ${state}${time}${copy.detail ? `: ${plain(copy.detail)}` : ''}`
    }),
    ...report.blockers.map((blocker) => colors.yellow(`  blocked by: ${plain(describeBlocker(blocker))}`)),
    ...report.ended.map((blocker) => colors.yellow(`  terminated: ${plain(describeBlocker(blocker))}`)),
    ...report.unfenced.map((why) => colors.red(`  not fenced: ${plain(why)}`)),
    ...report.warnings.map((warning) => colors.yellow(`  warning: ${plain(warning)}`)),
    ...report.sql.flatMap(({ node, statements }) => [
      `  -- on ${plain(node)}`,
      ...statements.map((sql) => `  ${plain(sql)};`),
    ]),
    colors.dim(`  ${report.durationMs} ms${steps(report)}`),
  ]
  return `${lines.join('\n')}\n`
}

function headline(report: Report, colors: Colors): string {
  const said = outcomeText(report)
  const text = report.epoch === null ? said : `${said} (epoch ${report.epoch})`
  const good = report.outcome === 'converged' || report.outcome === 'changed' || report.outcome === 'planned'
  return good ? colors.green(text) : colors.red(text)
}

function outcomeText(report: Report): string {
  const { outcome, copies } = report
  switch (outcome) {
    case 'planned':
      return `dry run: ${plannedText(report)}`
    case 'converged':
      return `converged: ${everyCopy(copies)} is up to date, nothing had to change`
    case 'changed':
      return `changed: committed, and ${everyCopy(copies)} was verified`
    default:
      return HEADLINES[outcome]
  }
}

function explainHint({ refusals }: Report): string[] {
  const rules = [...new Set(refusals.map(({ rule }) => rule))]
  return rules.length === 0 ? [] : [`  what to do: citus-ha explain ${rules.join(' ')}`]
}

function steps({ timings }: Report): string {
  const entries = Object.entries(timings).map(([step, ms]) => `${step} ${ms}`)
  return entries.length === 0 ? '' : ` (${entries.join(', ')})`
}
