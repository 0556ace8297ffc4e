import { show } from '../../diagnose/witnesses.ts'
import { COORDINATOR_GROUP, primaryOf } from '../../model/catalog.ts'
import type { Diagnosis, SecondaryState } from '../../model/diagnosis.ts'
import { kindOf } from '../../model/kinds.ts'
import { ask, look, mend, nextStep, stepOfSecondary } from '../../model/next-step.ts'
import { formatAddress, sameAddress } from '../../model/node.ts'
import { describePause } from '../../model/pause.ts'
import { START_SERVER, STOP_SERVER } from '../../model/server-commands.ts'
import { psqlAsOwnRole, psqlAsSuperuser, shellWord } from '../../model/shell.ts'
import type { Check, Facts, Found } from '../check.ts'
import { aboutOf, alterSystem, catalogOf, groupOf, nameOf, seenAt, settingOf, writers } from '../servers.ts'

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
      const next = mend(`${STOP_SERVER}   # on the one that is not to be the coordinator`)
      return [{ group: COORDINATOR_GROUP, node: coordinator.address, summary: unclear, evidence, next }]
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
    when: (facts) =>
      facts.diagnoses
        .filter(({ standing }) => standing === 'refused')
        .map((each) => ofDiagnosis(facts, each)),
  },
  {
    id: 'H031',
    code: 'failover-pending',
    severity: 'error',
    says: 'a promotion is proved, and the metadata does not have it yet',
    when: (facts) =>
      facts.diagnoses.filter(({ standing }) => standing === 'proved').map((each) => ofDiagnosis(facts, each)),
  },
  {
    id: 'H040',
    code: 'primary-silent',
    severity: 'error',
    says: 'the registered primary of a group cannot be reached or read from here',
    when: (facts) =>
      catalogOf(facts)
        .filter((row) => row.role === 'primary' && !isTheCoordinator(facts, row.group))
        .flatMap((row) => {
          const seen = seenAt(facts, row.address)
          if (seen === undefined || seen.kind === 'answered') return []
          const summary = `the primary of group ${row.group} ${wordFor(seen.kind)} (${seen.cause})`
          const evidence = [show(seen), ...testimonyOf(facts, row.address)]
          const next = ask(row.address, facts.survey.database)
          return [{ group: row.group, node: row.address, summary, evidence, next }]
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
    says: 'a node that the configuration names and no row has does not answer',
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
          next: baseBackup(facts, group),
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
    says: 'a pause keeps watch from changing a group or the cluster',
    when: ({ coordinator }) =>
      (coordinator.installed?.pauses ?? []).map((pause) => ({
        group: pause.group,
        node: null,
        summary: `watch would not act: paused ${describePause(pause)}`,
        evidence: [],
        next: mend(`citus-ha resume${pause.group === null ? '' : ` --group ${pause.group}`}`),
      })),
  },
]

function ofDiagnosis(facts: Facts, { group, code, rule, summary, evidence, primary }: Diagnosis): Found {
  const node = primary?.address ?? null
  const next = nextStep(code, aboutOf(facts, group, null)) ?? look(`citus-ha status --group ${group}`)
  return { group, node, summary: `group ${group}: ${code} (${rule}): ${summary}`, evidence, next }
}

/** A standby is a copy of its primary, wherever it is made. */
function baseBackup(facts: Facts, group: number) {
  const { host, port } = primaryOf(catalogOf(facts), group)?.address ?? { host: 'PRIMARY', port: 5432 }
  return mend(
    `pg_basebackup -h ${shellWord(host)} -p ${port} -U postgres -R -D DATA_DIRECTORY && ${START_SERVER}   # on a machine of its own`,
  )
}

/** The coordinator itself answers, under whatever name its row has. */
function isTheCoordinator({ coordinator, diagnoses }: Facts, group: number): boolean {
  if (group !== COORDINATOR_GROUP) return false
  const primary = diagnoses.find((diagnosis) => diagnosis.group === group)?.primary
  return primary?.instance === coordinator.instance
}

const wordFor = (kind: 'unreachable' | 'unreadable') =>
  kind === 'unreachable' ? 'does not answer' : 'answers but cannot be read'

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
  const isReader = kindOf(node) === 'expand coordinator'
  if (isReader && (interval === null || Number(interval) <= 0)) return []
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
      // One that is no reader is an old coordinator, or another one: its recovery is not all that is wrong with it.
      next: mend(
        isReader
          ? alterSystem(facts, node, 'citus.recover_2pc_interval', '-1')
          : `${STOP_SERVER}   # on ${shellWord(formatAddress(node.address))}`,
      ),
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
      next: mend(psqlAsSuperuser(node.address, facts.survey.database, sql)),
    },
  ]
}

type Standby = SecondaryState

/** The others have findings of their own: an old primary that is still running (H180), a right that is missing. */
const NO_STANDBYS: readonly Standby['state'][] = ['clone', 'alias', 'retired', 'read-only', 'unseen']

function standbysOf({ secondaries }: Diagnosis): readonly Standby[] {
  return secondaries.filter(({ state }) => !NO_STANDBYS.includes(state))
}

const usable = (diagnosis: Diagnosis) => standbysOf(diagnosis).filter(({ state }) => state === 'streaming')

function unusableFound(facts: Facts, diagnosis: Diagnosis, standbys: readonly Standby[]): Found {
  const { group } = diagnosis
  const names = standbys.map(({ address, detail }) => `${formatAddress(address)} is ${detail}`)
  const [first] = standbys
  return {
    group,
    node: first?.address ?? null,
    summary: `group ${group}: ${names.join(', ')}`,
    evidence: standbys.map(({ address }) => show(seenAt(facts, address))),
    next: nextOfStandby(facts, diagnosis, first),
  }
}

/** As `status` has it. */
function nextOfStandby(facts: Facts, diagnosis: Diagnosis, standby: Standby | undefined) {
  const step =
    standby && stepOfSecondary(diagnosis, standby.state, aboutOf(facts, diagnosis.group, standby.address))
  return step ?? ask(standby?.address ?? facts.coordinator.address, facts.survey.database)
}

function silentCandidates(facts: Facts): Found[] {
  const rows = catalogOf(facts)
  const configured = [...facts.seeds, ...facts.claims.standbys.map(({ address }) => address)]
  return facts.survey.nodes.flatMap((node): Found[] => {
    if (node.kind === 'answered' || rows.some((row) => sameAddress(row.address, node.address))) return []
    if (!configured.some((address) => sameAddress(address, node.address))) return []
    const summary = `${formatAddress(node.address)}, which the configuration names, ${wordFor(node.kind)} (${node.cause})`
    const next = ask(node.address, facts.survey.database)
    return [{ group: null, node: node.address, summary, evidence: [show(node)], next }]
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
      next: look(
        psqlAsOwnRole(
          nameOf(facts, primary),
          facts.survey.database,
          'SELECT application_name, state, replay_lag FROM pg_stat_replication',
        ),
      ),
    },
  ]
}
