import { type CatalogRow, COORDINATOR_GROUP, groupsOf } from '../model/catalog.ts'
import type { Diagnosis, SecondaryState } from '../model/diagnosis.ts'
import { formatAddress, sameAddress } from '../model/node.ts'
import type { Answered, Survey } from '../model/observation.ts'
import { remarkOf, textsOf, type Warning } from '../model/remark.ts'
import { answeredState, serverState } from '../model/server-state.ts'
import { distinctServers } from '../model/servers.ts'
import { whyCommitsHang } from '../model/sync-names.ts'
import { type Claims, catalogOf, factsOf, type GroupFacts } from './facts.ts'
import { RULES } from './rules.ts'

/** What the survey means, for each group that the coordinator's copy names. Pure. */
export function diagnose(survey: Survey, claims: Claims): Diagnosis[] {
  const catalog = catalogOf(survey)
  const all = groupsOf(catalog).map((group) => factsOf(survey, group, claims))
  const unplaced = unplacedStrangers(survey, all)
  return all.map((facts) =>
    diagnoseGroup(survey, catalog, facts, facts.group === COORDINATOR_GROUP ? unplaced : []),
  )
}

/** Servers that were asked, without a row, as candidates for the coordinator, and are of no system of this cluster. */
function unplacedStrangers(survey: Survey, all: readonly GroupFacts[]): Warning[] {
  const members = all.flatMap((facts) => facts.members.map(({ node }) => node))
  const systems = new Set(
    all.flatMap(({ lineage, lineageFrom }) =>
      lineageFrom === null ? [] : (lineage?.systemIdentifier ?? []),
    ),
  )
  if (systems.size === 0) return []
  const strangers = survey.nodes
    .filter((node): node is Answered => node.kind === 'answered')
    .filter((node) => !systems.has(node.systemIdentifier))
    .filter(({ instance }) => !members.some((member) => member.instance === instance))
  return distinctServers(strangers).map(({ address, systemIdentifier }) => {
    const at = formatAddress(address)
    const text = `${at} does not belong to this cluster: its system identifier is ${systemIdentifier}, which is that of no group; rebuild it as a standby (pg_basebackup), or remove it from the configuration`
    return { code: 'foreign-server', node: address, text }
  })
}

function diagnoseGroup(
  survey: Survey,
  catalog: readonly CatalogRow[],
  facts: GroupFacts,
  unplaced: readonly Warning[],
): Diagnosis {
  for (const rule of RULES) {
    const verdict = rule.when(facts)
    if (!verdict) continue
    const primary = verdict.primary ?? null
    const remarks = [
      ...(verdict.warnings ?? []),
      ...hangingCommits(primary),
      ...strangers(facts, rule.code),
      ...unplaced,
      ...(rule.standing === 'proved' ? takesNoWrites(primary) : []),
    ].map((warning) => remarkOf(warning, facts.group))
    return {
      group: facts.group,
      code: rule.code,
      rule: rule.id,
      standing: rule.standing,
      summary: verdict.summary,
      evidence: verdict.evidence ?? [],
      warnings: textsOf(remarks),
      remarks,
      byPerson: isByPerson(facts, primary),
      primary,
      secondaries: catalog
        .filter((row) => row.group === facts.group && row.role === 'secondary')
        .map((row) => secondaryState(survey, facts, row, primary)),
    }
  }
  throw new Error('the last rule applies to everything')
}

/** The metadata is right, and yet no write comes to its end. */
function hangingCommits(primary: Answered | null): Warning[] {
  const why = primary && whyCommitsHang(primary)
  if (!why) return []
  const { synchronousNames, address } = primary
  const text = `${formatAddress(address)} ${why}: writes hang (synchronous_standby_names: ${synchronousNames}); attach a standby, or run the command that citus-ha doctor shows (H120)`
  return [{ code: 'writes-hang', node: address, text }]
}

/** Left alone, and said: it stands in for nobody. */
function strangers({ foreign, vouched }: GroupFacts, code: Diagnosis['code']): Warning[] {
  if (vouched || code === 'lineage-mismatch') return []
  return foreign.map(({ member: { address }, why }) => {
    const at = formatAddress(address)
    const text = `${at} does not belong to this group: ${why}; rebuild it as a standby (pg_basebackup), or: citus-ha forget ${at}`
    return { code: 'foreign-server', node: address, text }
  })
}

/** The registered primary has a rule for it (D048). */
function takesNoWrites(primary: Answered | null): Warning[] {
  if (!primary?.readOnly) return []
  const { address } = primary
  const text = `${formatAddress(address)} takes no writes: default_transaction_read_only is on there; run there: ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf(); or, where a database or a role sets it: ALTER DATABASE, ALTER ROLE … RESET`
  return [{ code: 'takes-no-writes', node: address, text }]
}

function isByPerson({ vouched }: GroupFacts, primary: Answered | null): boolean {
  if (vouched?.by !== 'person' || vouched.observation?.kind !== 'answered') return false
  return vouched.observation.instance === primary?.instance
}

function secondaryState(
  survey: Survey,
  facts: GroupFacts,
  row: CatalogRow,
  primary: Answered | null,
): SecondaryState {
  const seen = survey.nodes.find((node) => sameAddress(node.address, row.address))
  const of = (state: SecondaryState['state'], detail: string = state): SecondaryState => {
    return { nodeid: row.nodeid, address: row.address, state, detail }
  }
  if (row.isclone) return of('clone')
  if (seen === undefined || seen.kind === 'unreadable') return of('unknown', serverState(seen).text)
  if (seen.kind === 'unreachable') {
    const known = facts.secondaries.find((each) => each.row.nodeid === row.nodeid)
    return of(known?.isDown ? 'down' : 'silent')
  }
  if (primary && seen.instance === primary.instance)
    return of(sameAddress(seen.address, primary.address) ? 'writable' : 'alias')
  if (facts.foreign.some(({ member }) => member.node.instance === seen.instance)) return of('foreign')
  const { code, text } = answeredState(seen, primary)
  return of(code === 'streams-elsewhere' ? 'not-streaming' : code, text)
}
