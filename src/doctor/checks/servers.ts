import type { Inspection, Look } from '../../model/inspection.ts'
import { kindOf } from '../../model/kinds.ts'
import { INSTALL, look, mend, type Step } from '../../model/next-step.ts'
import { formatAddress } from '../../model/node.ts'
import { retiredIn } from '../../model/retired.ts'
import { psqlAsSuperuser, quoted, shellWord } from '../../model/shell.ts'
import { ageOf, type Check, type Facts, type Found, named } from '../check.ts'
import {
  alterSystem,
  members,
  nameOf,
  seenIn,
  serverFound,
  settingOf,
  writerOf,
  writers,
} from '../servers.ts'

/** Clocks that disagree by more make ages and logs useless, in milliseconds. */
const APART_MS = 2_000

/** What each server lets citus-ha do, and whether the servers fit together. */
export const SERVER_CHECKS: readonly Check[] = [
  {
    id: 'H140',
    code: 'not-installed',
    severity: 'error',
    says: 'the schema citus_ha is missing, is another role’s, differs from this citus-ha’s, or may not be used',
    when: (facts) =>
      writers(facts).flatMap((inspection) => {
        const { node } = inspection
        const what =
          node.untrusted.length > 0
            ? `is not citus-ha’s: ${node.untrusted.join('; ')}`
            : installTrouble(node.installed, facts.migration)
        return what === null
          ? []
          : [
              serverFound(
                facts,
                node,
                `the schema citus_ha ${what}`,
                [`migration needed: ${facts.migration}`],
                installStep(facts, inspection),
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
            'doctor connected as a superuser: whether the role of the other commands has the rights that it needs was not seen',
            [],
            look(`citus-ha doctor --coordinator ${shellWord(urlOf(facts))}`),
          ),
        ),
  },
  {
    id: 'H150',
    code: 'writes-off',
    severity: 'error',
    says: 'a setting makes new transactions read-only',
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
    says: 'doctor could not check something: a fault there would not be found',
    when: (facts) => facts.inspections.flatMap((inspection) => unlooked(facts, inspection)),
  },
]

const urlOf = ({ coordinator, survey }: Facts) =>
  `postgres://citus_ha@${formatAddress(coordinator.address)}/${encodeURIComponent(survey.database)}`

/** Of a schema that is missing, old, not as it should be, newer, or another role’s; or of a right to it. */
function installStep(facts: Facts, inspection: Inspection): Step {
  const { address, untrusted, installed } = inspection.node
  if (untrusted.length > 0) {
    const drop = psqlAsSuperuser(address, facts.survey.database, 'DROP SCHEMA citus_ha CASCADE')
    return mend(`${drop} && ${INSTALL}`)
  }
  if (installed && installed.migration > facts.migration)
    return look(`citus-ha version   # a citus-ha of migration ${installed.migration} is needed`)
  return installed?.mayExecute === false ? installFor(inspection) : mend(INSTALL)
}

/** `citus-ha install` for the role that the session has; where that is not known, another one would cure nothing. */
function installFor({ session }: Inspection, option = ''): Step {
  const known = seenIn(session)?.role
  const role = known === undefined ? 'ROLE' : shellWord(known)
  const filled = known === undefined ? '; ROLE: the role that citus-ha connects as' : ''
  return mend(`citus-ha install${option} --role ${role} --user postgres   # or another superuser${filled}`)
}

function installTrouble(installed: Inspection['node']['installed'], migration: number): string | null {
  if (!installed) return 'is missing'
  if (!installed.mayExecute) return 'may not be used by this role'
  if (installed.migration < migration) return `is old (migration ${installed.migration})`
  if (installed.migration > migration) return `is newer than this citus-ha (migration ${installed.migration})`
  return installed.drift.length > 0
    ? `differs from that of this citus-ha: ${installed.drift.join(', ')}`
    : null
}

function missingRights(facts: Facts, inspection: Inspection): Found[] {
  const { node, session } = inspection
  const functions = seenIn(inspection.missingRights) ?? []
  const missing = [
    ...functions.map((signature) => `EXECUTE on citus_ha.${signature}`),
    ...(node.readsStatistics ? [] : ['pg_read_all_stats']),
  ]
  if (missing.length === 0 || isInherited(facts, node) || node.citus === null) return []
  const role = seenIn(session)?.role ?? 'citus_ha'
  const what = `${role} lacks ${missing[0]}${missing.length > 1 ? ` and ${missing.length - 1} more` : ''}`
  return [serverFound(facts, node, what, missing, installFor(inspection))]
}

/** Whoever never asked for them, and has none, switches nothing over on purpose. */
function switchoverRights(facts: Facts, inspection: Inspection): Found[] {
  const { node, session } = inspection
  const { granted, missing } = seenIn(inspection.switchoverRights) ?? { granted: [], missing: [] }
  const [first, ...more] = missing
  if (granted.length === 0 || first === undefined || isInherited(facts, node)) return []
  const role = seenIn(session)?.role ?? 'citus_ha'
  const what = `${role} lacks ${first}${more.length > 0 ? ` and ${more.length} more` : ''}, which switchover needs`
  return [serverFound(facts, node, what, missing, installFor(inspection, ' --switchover'))]
}

/** A standby has the roles and rights of its primary, where that was looked at. */
function isInherited(facts: Facts, node: Inspection['node']): boolean {
  if (!node.inRecovery) return false
  return writers(facts).some((each) => each.node.systemIdentifier === node.systemIdentifier)
}

/** Set for the role or the database, and so told of on the primary. */
function isOfPrimary(facts: Facts, { node, session }: Inspection, name: string): boolean {
  if (!isInherited(facts, node)) return false
  const source = seenIn(session)?.settings[name]?.source
  if (source === undefined) return writerOf(facts, node).readOnly
  return ['user', 'database', 'database user'].includes(source)
}

function readOnly(facts: Facts, inspection: Inspection): Found[] {
  const name = 'default_transaction_read_only'
  // Where no session was opened, as the survey has it.
  const isOn = settingOf(inspection, name) ?? (inspection.node.readOnly ? 'on' : 'off')
  if (isOn !== 'on' || isOfPrimary(facts, inspection, name)) return []
  // Meant to be so: an old primary after a switchover.
  if (retiredIn(facts.survey, facts.diagnoses).some(({ node }) => node.instance === inspection.node.instance))
    return []
  const source = seenIn(inspection.session)?.settings[name]?.source ?? null
  const next =
    source === null
      ? look(
          psqlAsSuperuser(
            nameOf(facts, inspection.node),
            facts.survey.database,
            `SELECT setting, source, sourcefile FROM pg_settings WHERE name = ${quoted(name)}`,
          ),
        )
      : mend(writesOn(facts, inspection, name, source))
  return [serverFound(facts, inspection.node, `${name} is on`, [`set by: ${source ?? 'not seen'}`], next)]
}

/** Where it was set: `pg_settings.source`. The session that takes it back is read-only by default itself. */
function writesOn(facts: Facts, { node, session }: Inspection, name: string, source: string): string {
  const database = named(facts.survey.database)
  const role = named(seenIn(session)?.role ?? 'citus_ha')
  const whose = {
    user: `ROLE ${role}`,
    database: `DATABASE ${database}`,
    'database user': `ROLE ${role} IN DATABASE ${database}`,
  }[source]
  if (whose === undefined) return alterSystem(facts, node, name, 'off')
  // Citus would have it done on other nodes as well, and only by the coordinator.
  const here = 'SET LOCAL citus.enable_ddl_propagation = off'
  const sql = `BEGIN READ WRITE; ${here}; ALTER ${whose} RESET ${name}; COMMIT`
  return psqlAsSuperuser(nameOf(facts, writerOf(facts, node)), facts.survey.database, sql)
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
      `${formatAddress(nameOf(facts, node))}: ${Math.round(offsetMs)} ms from here, ± ${Math.round(withinMs)} ms`,
  )
  const summary = `its clock is ${ageOf(apart)} ahead of that of ${formatAddress(nameOf(facts, first.node))}`
  const both = [first, last].map(({ node }) => shellWord(formatAddress(nameOf(facts, node)))).join(' and ')
  return [serverFound(facts, last.node, summary, shown, look(`chronyc tracking   # on ${both}`))]
}

/** One finding a server: what was not seen there, and why. */
function unlooked(facts: Facts, inspection: Inspection): Found[] {
  const { node, reaches } = inspection
  const looks: [string, Look<unknown>][] = [
    ['settings', inspection.session],
    ['clock', inspection.clock],
    ['prepared transactions', inspection.prepared],
    ['attached standbys', inspection.attached],
    ['who manages it', inspection.managers],
    ['daemons', inspection.daemons],
    ['replication slots', inspection.slots],
    ['rights', inspection.missingRights],
    ['pg_dist_poolinfo', inspection.pools],
    ...reaches.map(({ to, reaches: reach }): [string, Look<unknown>] => [
      `whether it reaches ${formatAddress(to)}`,
      reach,
    ]),
  ]
  const lines = looks.flatMap(([what, seen]) => (seen.kind === 'unseen' ? [`${what}: ${seen.why}`] : []))
  if (!node.readsStatistics)
    lines.push('attached standbys, daemons, synchronous standbys: pg_read_all_stats is missing')
  if (lines.length === 0 || (kindOf(node) === 'no copy' && node.citus === null)) return []
  const [first = '', ...more] = lines
  const summary = `doctor could not check: ${first}${more.length > 0 ? `; and ${more.length} more` : ''}`
  return [serverFound(facts, node, summary, lines, look('citus-ha doctor   # again, once that is possible'))]
}
