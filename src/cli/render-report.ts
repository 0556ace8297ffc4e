import { describeBlocker } from '../apply/blockers.ts'
import { everyCopy, plannedText, type Report } from '../model/outcome.ts'
import type { Remark } from '../model/remark.ts'
import { type Colors, colorsFor, type Io, plain } from './io.ts'

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
    next: report.next && typed(report.next),
    unfenced: report.unfenced.map(typed),
    warnings: report.warnings.map(typed),
  }
}

/** A report for people. */
export function renderReport(report: Report, io: Pick<Io, 'env' | 'stdout' | 'color'>): string {
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
    ...(report.next !== null && report.refusals.length === 0 ? [`  next: ${plain(report.next)}`] : []),
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
  const { outcome, reason, copies, changes, epoch } = report
  switch (outcome) {
    case 'planned':
      return `dry run: ${plannedText(report)}`
    case 'converged':
      return `converged: ${everyCopy(copies)} is up to date, nothing had to change`
    case 'changed':
      return `changed: committed, and ${everyCopy(copies)} was verified`
    case 'refused':
      return 'refused: the evidence does not allow a change'
    case 'blocked':
      return 'blocked: nothing was changed'
    case 'unproved':
      if (reason.code === 'in-doubt') return 'in doubt: whether the change was committed is not known yet'
      return `${epoch === null && changes.length === 0 ? 'nothing had to change' : 'committed'}, but ${OPEN[reason.code] ?? 'not every copy was verified'} (see below)`
  }
}

const OPEN: Readonly<Partial<Record<Remark['code'], string>>> = {
  'not-fenced': 'an old primary is not fenced',
  'switchover-unfinished': 'a switchover is not finished',
}

function explainHint({ refusals }: Report): string[] {
  const rules = [...new Set(refusals.map(({ rule }) => rule))]
  return rules.length === 0 ? [] : [`  what to do: citus-ha explain ${rules.join(' ')}`]
}

function steps({ timings }: Report): string {
  const entries = Object.entries(timings).map(([step, ms]) => `${step} ${ms}`)
  return entries.length === 0 ? '' : ` (${entries.join(', ')})`
}
