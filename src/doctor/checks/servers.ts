import type { Inspection, Look } from '../../model/inspection.ts'
import { kindOf } from '../../model/kinds.ts'
import { formatAddress } from '../../model/node.ts'
import { retiredIn } from '../../model/retired.ts'
import { psql } from '../../model/shell.ts'
import { ageOf, type Check, type Facts, type Found, named } from '../check.ts'
import { members, nameOf, seenIn, serverFound, settingOf, writers } from '../servers.ts'

/** Clocks that disagree by more make ages and logs useless, in milliseconds. */
const APART_MS = 2_000

/** What each server lets citus-ha do, and whether the servers fit together. */
export const SERVER_CHECKS: readonly Check[] = [
  {
    id: 'H140',
    code: 'not-installed',
    severity: 'error',
    says: 'the schema citus_ha is missing, somebody else’s, other than this citus-ha’s, or may not be used',
    when: (facts) =>
      writers(facts).flatMap(({ node }) => {
        const what =
          node.untrusted.length > 0
            ? `is not ours: ${node.untrusted.join('; ')}`
            : installTrouble(node.installed, facts.migration)
        const mend =
          node.untrusted.length > 0
            ? psql(node.address, facts.survey.database, 'DROP SCHEMA citus_ha CASCADE')
            : node.installed && node.installed.migration > facts.migration
              ? 'npm install -g citus-ha@latest'
              : `citus-ha install --coordinator ${urlOf(facts)}`
        return what === null
          ? []
          : [
              serverFound(
                facts,
                node,
                `the schema citus_ha ${what}`,
                [`migration needed: ${facts.migration}`],
                mend,
              ),
            ]
      }),
  },
  {
    id: 'H141',
    code: 'rights-missing',
    severity: 'error',
    says: 'the role lacks a right that `citus-ha install` grants',
    when: (facts) => facts.inspections.flatMap((inspection) => missingRights(facts, inspection)),
  },
  {
    id: 'H143',
    code: 'switchover-rights',
    severity: 'warning',
    says: 'the role has some of the rights that `switchover` needs, and not all: it would be refused',
    when: (facts) => facts.inspections.flatMap((inspection) => switchoverRights(facts, inspection)),
  },
  {
    id: 'H142',
    code: 'as-superuser',
    severity: 'info',
    says: 'doctor ran as a superuser, and did not see what the role of the other commands may do',
    when: (facts) =>
      facts.inspections
        .filter(({ node }) => node.superuser && node.instance === facts.coordinator.instance)
        .map(({ node }) =>
          serverFound(
            facts,
            node,
            'this is a superuser: whether the role of the other commands may do what they need was not seen',
            [],
            'citus-ha doctor --coordinator postgres://citus_ha@HOST/DATABASE',
          ),
        ),
  },
  {
    id: 'H150',
    code: 'writes-off',
    severity: 'error',
    says: 'a setting ends all writing',
    when: (facts) => members(facts).flatMap((inspection) => readOnly(facts, inspection)),
  },
  {
    id: 'H160',
    code: 'clocks-apart',
    severity: 'warning',
    says: 'two servers’ clocks disagree by more than two seconds',
    when: (facts) => clocksApart(facts),
  },
  {
    id: 'H900',
    code: 'not-looked',
    severity: 'warning',
    says: 'something could not be looked at: that is no all-clear',
    when: (facts) => facts.inspections.flatMap((inspection) => unlooked(facts, inspection)),
  },
]

const urlOf = ({ coordinator, survey }: Facts) =>
  `postgres://SUPERUSER@${formatAddress(coordinator.address)}/${encodeURIComponent(survey.database)}`

function installTrouble(installed: Inspection['node']['installed'], migration: number): string | null {
  if (!installed) return 'is missing'
  if (!installed.mayExecute) return 'may not be used by this role'
  if (installed.migration < migration) return `is old (migration ${installed.migration})`
  if (installed.migration > migration) return `is newer than this citus-ha (migration ${installed.migration})`
  return installed.drift.length > 0 ? `is not as in this citus-ha: ${installed.drift.join(', ')}` : null
}

function missingRights(facts: Facts, { node, missingRights: look, session }: Inspection): Found[] {
  const functions = seenIn(look) ?? []
  const missing = [
    ...functions.map((signature) => `EXECUTE on citus_ha.${signature}`),
    ...(node.readsStatistics ? [] : ['pg_read_all_stats']),
  ]
  if (missing.length === 0 || isInherited(facts, node) || node.citus === null) return []
  const role = seenIn(session)?.role ?? 'citus_ha'
  const mend = `citus-ha install --role ${role} --coordinator ${urlOf(facts)}`
  return [
    serverFound(
      facts,
      node,
      `${role} lacks ${missing[0]}${missing.length > 1 ? ` and ${missing.length - 1} more` : ''}`,
      missing,
      mend,
    ),
  ]
}

/** Whoever never asked for them, and has none, switches nothing over on purpose. */
function switchoverRights(facts: Facts, { node, switchoverRights: look, session }: Inspection): Found[] {
  const { granted, missing } = seenIn(look) ?? { granted: [], missing: [] }
  const [first, ...more] = missing
  if (granted.length === 0 || first === undefined || isInherited(facts, node)) return []
  const role = seenIn(session)?.role ?? 'citus_ha'
  const what = `${role} lacks ${first}${more.length > 0 ? ` and ${more.length} more` : ''}, which switchover needs`
  const mend = `citus-ha install --switchover --role ${role} --coordinator ${urlOf(facts)}`
  return [serverFound(facts, node, what, missing, mend)]
}

/** A standby has the roles and rights of its primary, where that was looked at. */
function isInherited(facts: Facts, node: Inspection['node']): boolean {
  if (!node.inRecovery) return false
  return writers(facts).some((each) => each.node.systemIdentifier === node.systemIdentifier)
}

/** Set for the role or the database, and so told of on the primary. */
function isOfPrimary(facts: Facts, { node, session }: Inspection, name: string): boolean {
  const source = seenIn(session)?.settings[name]?.source ?? ''
  return ['user', 'database', 'database user'].includes(source) && isInherited(facts, node)
}

function readOnly(facts: Facts, inspection: Inspection): Found[] {
  const name = 'default_transaction_read_only'
  if (settingOf(inspection, name) !== 'on' || isOfPrimary(facts, inspection, name)) return []
  // Meant to be so: an old primary after a switchover.
  if (retiredIn(facts.survey, facts.diagnoses).some(({ node }) => node.instance === inspection.node.instance))
    return []
  return [settingFound(facts, inspection, name, `${name} is on`, 'off')]
}

function settingFound(
  facts: Facts,
  { node, session }: Inspection,
  name: string,
  what: string,
  value: string,
): Found {
  const seen = seenIn(session)
  const source = seen?.settings[name]?.source ?? 'unknown'
  const role = named(seen?.role ?? 'citus_ha')
  // Of all the places where a setting may come from, that of a role in a database counts most.
  const sql = `ALTER ROLE ${role} IN DATABASE ${named(facts.survey.database)} SET ${name} = ${value}`
  const writer = facts.inspections.find(
    (each) => !each.node.inRecovery && each.node.systemIdentifier === node.systemIdentifier,
  )
  const mend = psql(nameOf(facts, writer?.node ?? node), facts.survey.database, sql)
  return serverFound(facts, node, what, [`set by: ${source}`], mend)
}

function clocksApart(facts: Facts): Found[] {
  const clocks = facts.inspections.flatMap(({ node, clock }) =>
    clock.kind === 'seen' ? [{ node, ...clock.value }] : [],
  )
  const sorted = [...clocks].sort((a, b) => a.offsetMs - b.offsetMs)
  const [first, last] = [sorted[0], sorted.at(-1)]
  if (!first || !last) return []
  const apart = last.offsetMs - first.offsetMs - first.withinMs - last.withinMs
  if (apart <= APART_MS) return []
  const shown = sorted.map(
    ({ node, offsetMs, withinMs }) =>
      `${formatAddress(nameOf(facts, node))}: ${Math.round(offsetMs)} ms from here, give or take ${Math.round(withinMs)}`,
  )
  const summary = `its clock is ${ageOf(apart)} ahead of that of ${formatAddress(nameOf(facts, first.node))}`
  return [serverFound(facts, last.node, summary, shown, 'chronyc tracking   # on both')]
}

/** One finding a server: what was not seen there, and why. */
function unlooked(facts: Facts, inspection: Inspection): Found[] {
  const { node, reaches } = inspection
  const looks: [string, Look<unknown>][] = [
    ['settings', inspection.session],
    ['clock', inspection.clock],
    ['prepared transactions', inspection.prepared],
    ['attached standbys', inspection.attached],
    ['daemons', inspection.daemons],
    ['replication slots', inspection.slots],
    ['rights', inspection.missingRights],
    ['pg_dist_poolinfo', inspection.pools],
    ...reaches.map(({ to, reaches: look }): [string, Look<unknown>] => [
      `whether it reaches ${formatAddress(to)}`,
      look,
    ]),
  ]
  const lines = looks.flatMap(([what, look]) => (look.kind === 'unseen' ? [`${what}: ${look.why}`] : []))
  if (!node.readsStatistics)
    lines.push('attached standbys, daemons, synchronous standbys: pg_read_all_stats is missing')
  if (lines.length === 0 || (kindOf(node) === 'no copy' && node.citus === null)) return []
  const summary = `could not look at ${lines.length === 1 ? 'something' : `${lines.length} things`} there`
  return [serverFound(facts, node, summary, lines, 'citus-ha doctor   # again, once that is possible')]
}
