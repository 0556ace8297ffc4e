import { show } from '../../diagnose/witnesses.ts'
import { COORDINATOR_GROUP } from '../../model/catalog.ts'
import type { Diagnosis, SecondaryState } from '../../model/diagnosis.ts'
import { kindOf } from '../../model/kinds.ts'
import { formatAddress, sameAddress } from '../../model/node.ts'
import { describePause } from '../../model/pause.ts'
import { psql } from '../../model/shell.ts'
import type { Check, Facts, Found } from '../check.ts'
import { catalogOf, groupOf, nameOf, seenAt, settingOf, writers } from '../servers.ts'

const RECONCILE = 'citus-ha reconcile'

/** The state of each group, and whether it has somebody to fail over to. */
export const GROUP_CHECKS: readonly Check[] = [
  {
    id: 'H010',
    code: 'coordinator-unclear',
    severity: 'error',
    says: 'two nodes take writes as the coordinator, and nothing is changed until one of them is gone',
    when: ({ unclear, coordinator, survey }) => {
      if (unclear === null) return []
      const evidence = survey.nodes.map(show)
      const mend = 'stop the one that is not the coordinator: pg_ctl stop -m fast -D DATA_DIRECTORY'
      return [{ group: COORDINATOR_GROUP, node: coordinator.address, summary: unclear, evidence, mend }]
    },
  },
  {
    id: 'H020',
    code: 'impostor',
    severity: 'error',
    says: 'a writable copy of group 0 that is not the coordinator resolves the coordinator’s transactions',
    when: (facts) => impostors(facts).flatMap((each) => impostorFound(facts, each)),
  },
  {
    id: 'H021',
    code: 'impostor-syncs',
    severity: 'warning',
    says: 'a writable copy of group 0 that is not the coordinator would overwrite the metadata of workers',
    when: (facts) => impostors(facts).flatMap(({ node }) => syncingImpostor(facts, node)),
  },
  {
    id: 'H030',
    code: 'group-refused',
    severity: 'error',
    says: 'the evidence on a group is such that nothing would be written for it',
    when: ({ diagnoses }) => diagnoses.filter(({ standing }) => standing === 'refused').map(ofDiagnosis),
  },
  {
    id: 'H031',
    code: 'failover-pending',
    severity: 'error',
    says: 'a promotion is proved that the metadata does not know yet',
    when: ({ diagnoses }) => diagnoses.filter(({ standing }) => standing === 'proved').map(ofDiagnosis),
  },
  {
    id: 'H040',
    code: 'primary-silent',
    severity: 'error',
    says: 'the registered primary of a group can’t be reached or read from here',
    when: (facts) =>
      catalogOf(facts)
        .filter((row) => row.role === 'primary' && !isTheCoordinator(facts, row.group))
        .flatMap((row) => {
          const seen = seenAt(facts, row.address)
          if (seen === undefined || seen.kind === 'answered') return []
          const summary = `the primary of group ${row.group} ${wordFor(seen.kind)} (${seen.cause})`
          const evidence = [show(seen), ...testimonyOf(facts, row.address)]
          const mend = psql(row.address, facts.survey.database, 'SELECT 1')
          return [{ group: row.group, node: row.address, summary, evidence, mend }]
        }),
  },
  {
    id: 'H041',
    code: 'nobody-to-promote',
    severity: 'error',
    says: 'a group has standbys, and none of them streams from its primary',
    when: (facts) =>
      facts.diagnoses
        .filter((diagnosis) => standbysOf(diagnosis).length > 0 && usable(diagnosis).length === 0)
        .map((diagnosis) => unusableFound(facts, diagnosis, standbysOf(diagnosis))),
  },
  {
    id: 'H042',
    code: 'standby-unusable',
    severity: 'warning',
    says: 'a standby does not stream from its group’s primary; another one does',
    when: (facts) =>
      facts.diagnoses
        .filter((diagnosis) => usable(diagnosis).length > 0)
        .flatMap((diagnosis) =>
          standbysOf(diagnosis)
            .filter((standby) => !usable(diagnosis).includes(standby))
            .map((standby) => unusableFound(facts, diagnosis, [standby])),
        ),
  },
  {
    id: 'H043',
    code: 'candidate-silent',
    severity: 'warning',
    says: 'a node that the configuration names, and no row, does not answer',
    when: (facts) => silentCandidates(facts),
  },
  {
    id: 'H044',
    code: 'no-standby',
    severity: 'info',
    says: 'a worker group has no standby at all',
    when: (facts) =>
      facts.diagnoses
        .filter(({ group }) => group !== COORDINATOR_GROUP && !hasStandby(facts, group))
        .map(({ group }) => ({
          group,
          node: null,
          summary: `group ${group} has no standby: nothing can be promoted when its primary is lost`,
          evidence: [],
          mend: psql(
            facts.coordinator.address,
            facts.survey.database,
            `SELECT citus_add_secondary_node('STANDBY', 5432, 'PRIMARY', 5432)`,
          ),
        })),
  },
  {
    id: 'H045',
    code: 'standby-lags',
    severity: 'warning',
    says: 'a standby is further behind than routing.maxLag',
    when: (facts) =>
      facts.diagnoses.flatMap((diagnosis) =>
        diagnosis.secondaries.flatMap((each) => lagging(facts, diagnosis, each)),
      ),
  },
  {
    id: 'H050',
    code: 'paused',
    severity: 'warning',
    says: 'watch was told to leave a group or the cluster alone',
    when: ({ coordinator }) =>
      (coordinator.installed?.pauses ?? []).map((pause) => ({
        group: pause.group,
        node: null,
        summary: `watch would not act: paused ${describePause(pause)}`,
        evidence: [],
        mend: `citus-ha resume${pause.group === null ? '' : ` --group ${pause.group}`}`,
      })),
  },
]

function ofDiagnosis({ group, code, rule, summary, evidence, primary }: Diagnosis): Found {
  const node = primary?.address ?? null
  return { group, node, summary: `group ${group}: ${code} (${rule}): ${summary}`, evidence, mend: RECONCILE }
}

/** The coordinator itself answers, under whatever name its row has. */
function isTheCoordinator({ coordinator, diagnoses }: Facts, group: number): boolean {
  if (group !== COORDINATOR_GROUP) return false
  const primary = diagnoses.find((diagnosis) => diagnosis.group === group)?.primary
  return primary?.instance === coordinator.instance
}

const wordFor = (kind: 'unreachable' | 'unreadable') =>
  kind === 'unreachable' ? 'does not answer' : 'answers, but can’t be read'

function testimonyOf({ survey }: Facts, about: Parameters<typeof formatAddress>[0]): string[] {
  return survey.testimony
    .filter((given) => sameAddress(given.about, about))
    .map((given) => `${formatAddress(given.witness)} (${given.how}): ${given.says}, ${given.detail}`)
}

/** Writable copies of group 0 beside the coordinator, by what they are and not by what they are called. */
function impostors(facts: Facts) {
  return writers(facts).filter(
    ({ node }) =>
      node.citus?.localGroup === COORDINATOR_GROUP &&
      // Of a retired one no Citus takes itself for the coordinator any more (H180).
      !node.retired &&
      (node.citus.catalog.length ?? 0) > 0 &&
      node.instance !== facts.coordinator.instance,
  )
}

function impostorFound(facts: Facts, inspection: ReturnType<typeof impostors>[number]): Found[] {
  const { node } = inspection
  const interval = settingOf(inspection, 'citus.recover_2pc_interval')
  if (kindOf(node) === 'expand coordinator' && (interval === null || Number(interval) <= 0)) return []
  const sql = 'ALTER SYSTEM SET citus.recover_2pc_interval = -1; SELECT pg_reload_conf()'
  return [
    {
      group: COORDINATOR_GROUP,
      node: node.address,
      summary: `${formatAddress(node.address)} is a writable copy of group 0 beside the coordinator ${formatAddress(facts.coordinator.address)}: its daemon may roll back transactions of the coordinator`,
      evidence: [
        show(node),
        `kind: ${kindOf(node)}`,
        `citus.recover_2pc_interval: ${interval === null ? 'not seen' : `${interval} ms`}`,
      ],
      // ALTER SYSTEM can't be in one message with anything else.
      mend: sql
        .split('; ')
        .map((each) => psql(node.address, facts.survey.database, each))
        .join(' && '),
    },
  ]
}

function syncingImpostor(facts: Facts, node: Facts['coordinator']): Found[] {
  const unsynced = (node.citus?.catalog ?? []).filter((row) => row.hasmetadata && !row.metadatasynced)
  if (unsynced.length === 0) return []
  const names = unsynced.map((row) => formatAddress(row.address))
  const sql = 'UPDATE pg_dist_node SET metadatasynced = true WHERE hasmetadata'
  return [
    {
      group: COORDINATOR_GROUP,
      node: node.address,
      summary: `${formatAddress(node.address)}, a writable copy of group 0 beside the coordinator, has nodes to sync`,
      evidence: [`not synced in its copy: ${names.join(', ')}`],
      mend: psql(node.address, facts.survey.database, sql),
    },
  ]
}

type Standby = SecondaryState

/** Of the others something else is told: an old primary that runs on (H180), or that our role may not look. */
const NO_STANDBYS: readonly Standby['state'][] = ['clone', 'alias', 'retired', 'read-only', 'unseen']

function standbysOf({ secondaries }: Diagnosis): readonly Standby[] {
  return secondaries.filter(({ state }) => !NO_STANDBYS.includes(state))
}

const usable = (diagnosis: Diagnosis) => standbysOf(diagnosis).filter(({ state }) => state === 'streaming')

function unusableFound(facts: Facts, { group }: Diagnosis, standbys: readonly Standby[]): Found {
  const names = standbys.map(({ address, detail }) => `${formatAddress(address)} is ${detail}`)
  const [first] = standbys
  return {
    group,
    node: first?.address ?? null,
    summary: `group ${group}: ${names.join(', ')}`,
    evidence: standbys.map(({ address }) => show(seenAt(facts, address))),
    mend: first
      ? psql(
          first.address,
          'postgres',
          'SELECT status, sender_host, latest_end_time FROM pg_stat_wal_receiver',
        )
      : '',
  }
}

function silentCandidates(facts: Facts): Found[] {
  const rows = catalogOf(facts)
  const configured = [...facts.seeds, ...facts.claims.standbys.map(({ address }) => address)]
  return facts.survey.nodes.flatMap((node): Found[] => {
    if (node.kind === 'answered' || rows.some((row) => sameAddress(row.address, node.address))) return []
    if (!configured.some((address) => sameAddress(address, node.address))) return []
    const summary = `${formatAddress(node.address)}, which the configuration names, ${wordFor(node.kind)} (${node.cause})`
    const mend = psql(node.address, facts.survey.database, 'SELECT 1')
    return [{ group: null, node: node.address, summary, evidence: [show(node)], mend }]
  })
}

function hasStandby(facts: Facts, group: number): boolean {
  const registered = catalogOf(facts).some((row) => row.group === group && row.role === 'secondary')
  const configured = facts.claims.standbys.some((standby) => standby.group === group)
  const seen = facts.inspections.some(({ node }) => node.inRecovery && groupOf(facts, node) === group)
  const attached = facts.inspections.some(
    ({ node, attached: look }) =>
      groupOf(facts, node) === group && look.kind === 'seen' && look.value.length > 0,
  )
  return registered || configured || seen || attached
}

function lagging(facts: Facts, { group, primary }: Diagnosis, { address, state }: Standby): Found[] {
  const seen = seenAt(facts, address)
  if (state !== 'streaming' || seen?.kind !== 'answered' || primary?.lsn == null || seen.lsn === null)
    return []
  const lag = primary.lsn - seen.lsn
  if (lag <= BigInt(facts.maxLagBytes)) return []
  return [
    {
      group,
      node: address,
      summary: `${formatAddress(address)} is ${lag} bytes of WAL behind its primary; routing.maxLag is ${facts.maxLagBytes}`,
      evidence: [`replayed up to ${seen.lsn}, primary at ${primary.lsn}`],
      mend: psql(
        nameOf(facts, primary),
        'postgres',
        'SELECT application_name, state, replay_lag FROM pg_stat_replication',
      ),
    },
  ]
}
