import type { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Outcome } from '../model/outcome.ts'
import type { Held, Noticed } from '../watch/event.ts'

type Prometheus = typeof import('prom-client')

export const OUTCOMES: readonly Outcome[] = [
  'converged',
  'changed',
  'planned',
  'refused',
  'blocked',
  'unproved',
]
export const NOTICED: readonly Noticed['what'][] = [
  'promoted',
  'demoted',
  'lost',
  'back',
  'receiver-changed',
  'changed',
]
export const HELD: readonly Held['why'][] = ['paused', 'cooldown', 'following', 'unconfirmed', 'fenced']
export const STAGES = ['noticed', 'decided', 'right'] as const

/** Seconds: what is aimed at (25, 75 and 250 ms) are bounds of their own. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

const NODE = ['database', 'group', 'node'] as const
const GROUP = ['database', 'group'] as const
const DATABASE = ['database'] as const

/** Everything `/metrics` tells. Labels are bounded by the nodes, groups and databases there are, and by rules. */
export type Families = ReturnType<typeof familiesIn>

const UNWANTED = [
  // Gauges that are named as if they were counters.
  'nodejs_active_resources_total',
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  // Without a sample since the last scrape these are written as no number of Prometheus's is.
  'nodejs_eventloop_lag_min_seconds',
  'nodejs_eventloop_lag_mean_seconds',
  'nodejs_eventloop_lag_stddev_seconds',
]
/** Milliseconds; at the default of ten an idle watcher would wake a hundred times a second. */
const EVENT_LOOP_PRECISION_MS = 100

/** Adds what Prometheus's clients tell of their own process: `process_*` and `nodejs_*`. */
export function addProcess(prometheus: Prometheus, registry: Registry): void {
  prometheus.collectDefaultMetrics({
    register: registry,
    eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS,
  })
  for (const name of UNWANTED) registry.removeSingleMetric(name)
}

export function familiesIn(prometheus: Prometheus, registry: Registry) {
  return { ...nodes(prometheus, registry), ...groups(prometheus, registry), ...loops(prometheus, registry) }
}

function nodes(prometheus: Prometheus, registry: Registry) {
  const gauge = gauges(prometheus, registry)
  return {
    up: gauge('node_up', '1: the node answered when it was last asked; 0: it did not.', NODE),
    role: gauge(
      'node_role',
      '1 for what the node is: primary (takes writes), standby (in recovery), read-only, retired, or alias (another name of its group’s primary).',
      [...NODE, 'role'],
    ),
    streaming: gauge(
      'node_streaming',
      '1: this standby receives from its group’s primary, as surveyed; 0: it does not. Absent where that cannot be seen.',
      NODE,
    ),
    registered: gauge(
      'node_registered',
      '1 for what the coordinator’s pg_dist_node calls it: primary, secondary, clone, or none.',
      [...NODE, 'as'],
    ),
    lag: gauge(
      'node_lag_bytes',
      'Bytes of WAL that its group’s primary has written and this standby has not replayed; up to detect.interval old.',
      NODE,
    ),
    timeline: gauge('node_timeline', 'The timeline of the node.', NODE),
    prepared: gauge(
      'prepared_transactions',
      'Prepared transactions of citus-ha, of any change, that the node holds.',
      NODE,
    ),
    preparedAge: gauge(
      'prepared_transactions_oldest_age_seconds',
      'Age of the oldest prepared transaction of citus-ha that the node holds, as surveyed.',
      NODE,
    ),
    copyDiffers: gauge(
      'copy_differs',
      '1: the node’s copy of pg_dist_node differs from the coordinator’s; 0: it does not. Absent where it cannot be read.',
      ['database', 'node', 'role'],
    ),
  }
}

function groups(prometheus: Prometheus, registry: Registry) {
  const gauge = gauges(prometheus, registry)
  return {
    diagnosis: gauge('group_diagnosis', '1 for the diagnosis of the group, with the rule that applied.', [
      ...GROUP,
      'code',
      'rule',
    ]),
    groupFailures: gauge('group_failures', 'Consecutive failed tries to change this group.', GROUP),
    paused: gauge(
      'group_paused',
      '1: the group is paused (citus-ha pause), and watch changes nothing; 0: it is not.',
      GROUP,
    ),
    cooldown: gauge(
      'group_rest_seconds',
      'How long watch still leaves the group alone (cooldown, or the pause after a failed try); 0: it does not.',
      GROUP,
    ),
    problems: gauge(
      'problems',
      'Problems of citus-ha status, by code; as surveyed. It exits with 3 while there is one.',
      [...GROUP, 'code'],
    ),
    // With those that status calls problems: alerts ask for them by this name.
    warnings: gauge(
      'warnings',
      'What a survey shows beside the diagnoses, by code; some are problems of citus-ha status.',
      [...GROUP, 'code'],
    ),
    fenced: gauge(
      'group_fence_seconds',
      'Remaining time of the fence by which this instance holds the writes to the group; 0: it holds none.',
      GROUP,
    ),
  }
}

function loops(prometheus: Prometheus, registry: Registry) {
  const gauge = gauges(prometheus, registry)
  const counter = counters(prometheus, registry)
  const histogram = histograms(prometheus, registry)
  return {
    build: gauge('build_info', '1, with the version of citus-ha.', ['version']),
    leading: gauge('leading', '1: this instance leads and may change; 0: it does not.', DATABASE),
    ready: gauge('ready', '1: it leads or follows and sees the coordinator; as /readyz.', DATABASE),
    turnAge: gauge('turn_age_seconds', 'Time since the last turn of the watch loop.', DATABASE),
    surveyAge: gauge(
      'survey_age_seconds',
      'Time since the last full survey that led to a diagnosis.',
      DATABASE,
    ),
    turns: counter('turns_total', 'Turns of the watch loop.', DATABASE),
    surveys: counter('surveys_total', 'Full surveys.', DATABASE),
    noticed: counter('noticed_total', 'Changes of a node that its pulse session showed.', [
      'database',
      'what',
    ]),
    changes: counter('changes_total', 'Runs that changed metadata, or should have, by outcome.', [
      'database',
      'outcome',
    ]),
    held: counter('held_total', 'Actions withheld on purpose, by reason.', ['database', 'why']),
    failures: counter(
      'failures_total',
      'Turns of the watch loop that failed, by error; counted once while the error lasts.',
      DATABASE,
    ),
    notifications: counter('notifications_total', 'Notifications, by target and result.', [
      'target',
      'result',
    ]),
    notificationsQueued: gauge('notifications_queued', 'Notifications that wait for their target.', [
      'target',
    ]),
    noticeTime: histogram(
      'promotion_notice_seconds',
      'Age of a promotion, by the node’s own clock, when its pulse session showed it.',
      DATABASE,
    ),
    stageTime: histogram(
      'promotion_stage_seconds',
      'Time from a promotion to each stage of the change that followed it: noticed, decided (committed on the coordinator), right (every copy verified).',
      ['database', 'stage'],
    ),
  }
}

function gauges({ Gauge: Type }: Prometheus, registry: Registry) {
  return <Label extends string>(name: string, help: string, labelNames: readonly Label[]): Gauge<Label> =>
    new Type({ name: `citus_ha_${name}`, help, labelNames, registers: [registry] })
}

function counters({ Counter: Type }: Prometheus, registry: Registry) {
  return <Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> =>
    new Type({ name: `citus_ha_${name}`, help, labelNames, registers: [registry] })
}

function histograms({ Histogram: Type }: Prometheus, registry: Registry) {
  return <Label extends string>(name: string, help: string, labelNames: readonly Label[]): Histogram<Label> =>
    new Type({ name: `citus_ha_${name}`, help, labelNames, buckets: BUCKETS, registers: [registry] })
}
