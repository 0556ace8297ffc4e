import { describeBlocker } from '../apply/blockers.ts'
import { everyCopy } from '../model/outcome.ts'
import type { SwitchoverOutcome, SwitchoverReport } from '../model/switchover.ts'
import { colorsFor, type Io, plain } from './io.ts'

const HEADLINES: Readonly<Record<SwitchoverOutcome, string>> = {
  switched: 'switched',
  planned: 'dry run: this would be done; nothing was changed',
  refused: 'refused: nothing was changed',
  blocked: 'blocked: it failed before the promotion, and was undone',
  partly: 'only some groups were switched: the others failed, and were undone',
  'late-writes': 'switched, but an old primary accepted writes after that',
  unproved: 'promoted, but not yet verified on every node: run citus-ha reconcile',
}

const UNTOUCHED = 'blocked: nothing was changed'
const UNKNOWN = 'it is not known whether the target is promoted: run citus-ha reconcile'

/** A switchover for people. */
export function renderSwitchover(report: SwitchoverReport, io: Io): string {
  const colors = colorsFor(io)
  const { outcome, databases, moves, refusals, plan, why, pauseMs, othersMs, timings } = report
  const paint = outcome === 'switched' || outcome === 'planned' ? colors.green : colors.red
  const proved = `: ${everyCopy(report.reports.flatMap(({ copies }) => copies))} was verified`
  const said = outcome === 'switched' ? HEADLINES.switched + proved : HEADLINES[outcome]
  const headline = headlineOf(report) ?? said
  const pause = pauseMs === null ? [] : [`  writes were held for ${pauseMs} ms${share(pauseMs, othersMs)}`]
  const steps = Object.entries(timings).map(([step, ms]) => `${step} ${ms}`)
  const lines = [
    `${colors.bold(plain(databases.join(', ')))}: ${paint(headline)}`,
    ...(outcome === 'refused' ? refusals.map((line) => colors.red(`  ${plain(line)}`)) : []),
    ...(outcome === 'refused' && plan.length > 0 ? ['  without that, this would be done:'] : []),
    ...(outcome === 'planned' || outcome === 'refused' ? plan.map((line) => `  ${plain(line)}`) : []),
    ...(outcome === 'refused' || why === null ? [] : [colors.red(`  ${plain(why)}`)]),
    ...(['switched', 'partly', 'late-writes'].includes(outcome)
      ? moves.map(({ group, from, to }) => `  group ${group}: ${from} -> ${to}`)
      : []),
    ...pause,
    ...report.waitedFor.map((each) => colors.yellow(`  blocked by: ${plain(describeBlocker(each))}`)),
    ...report.ended.map((each) => colors.yellow(`  terminated: ${plain(describeBlocker(each))}`)),
    ...report.cutOff.map((each) =>
      colors.yellow(`  terminated on the old primary: ${plain(describeBlocker(each))}`),
    ),
    ...(report.rolledBack === null
      ? []
      : [colors.yellow(`  rolled back on the old primary meanwhile: ${report.rolledBack} transactions`)]),
    ...report.left.map((line) => colors.red(`  not undone: ${plain(line)}`)),
    ...(outcome === 'planned' || outcome === 'refused'
      ? []
      : report.warnings.map((line) => colors.yellow(`  warning: ${plain(line)}`))),
    colors.dim(`  ${report.durationMs} ms (${steps.join(', ')})`),
  ]
  return `${lines.join('\n')}\n`
}

/** Of what the outcome alone does not tell. */
function headlineOf({ outcome, pauseMs, moves }: SwitchoverReport): string | null {
  if (outcome === 'blocked' && pauseMs === null) return UNTOUCHED
  return outcome === 'unproved' && moves.length === 0 ? UNKNOWN : null
}

function share(pauseMs: number, othersMs: number | null): string {
  if (othersMs === null) return ''
  return `, ${Math.round(othersMs * 10) / 10} ms of that for the promotion, and for citus-ha itself ${Math.round((pauseMs - othersMs) * 10) / 10} ms`
}
