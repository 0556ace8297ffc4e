import type { Inspection } from '../../model/inspection.ts'
import { look, mend } from '../../model/next-step.ts'
import { formatAddress } from '../../model/node.ts'
import { psqlAsOwnRole, psqlAsSuperuser } from '../../model/shell.ts'
import type { Check, Facts, Found } from '../check.ts'
import { nameOf, seenIn, serverFound, writers } from '../servers.ts'

/** Whether the servers' programs fit together. */
export const VERSION_CHECKS: readonly Check[] = [
  {
    id: 'H170',
    code: 'citus-skew',
    severity: 'error',
    says: 'nodes run different releases of Citus, or an extension that was not updated to its library',
    when: (facts) => [...notUpdated(facts), ...skew(facts, 'Citus', citusRelease)],
  },
  {
    id: 'H171',
    code: 'postgres-skew',
    severity: 'warning',
    says: 'nodes run different major versions of PostgreSQL',
    when: (facts) => skew(facts, 'PostgreSQL', postgresMajor),
  },
  {
    id: 'H172',
    code: 'minor-skew',
    severity: 'info',
    says: 'nodes run different minor versions of PostgreSQL or Citus',
    when: (facts) => [
      ...(skew(facts, 'PostgreSQL', postgresMajor).length > 0
        ? []
        : skew(facts, 'PostgreSQL', postgresMinor)),
      ...(skew(facts, 'Citus', citusRelease).length > 0 ? [] : skew(facts, 'Citus', citusPatch)),
    ],
  },
]

/** `13.2` of `Citus 13.2.2 on …` or of `13.2-1`: what has to be equal for nodes to share metadata. */
function releaseOf(version: string | null): string | null {
  return /(\d+\.\d+)/.exec(version ?? '')?.[1] ?? null
}

type VersionOf = (inspection: Inspection) => string | null

const postgresMajor: VersionOf = ({ node }) => `${Math.trunc(node.serverVersion / 10_000)}`
const postgresMinor: VersionOf = ({ node }) =>
  `${Math.trunc(node.serverVersion / 10_000)}.${node.serverVersion % 10_000}`
const citusRelease: VersionOf = ({ node }) => releaseOf(node.citus?.version ?? null)
const citusPatch: VersionOf = ({ node }) =>
  /(\d+\.\d+(?:[.-]\d+)?)/.exec(node.citus?.version ?? '')?.[1] ?? null

function notUpdated(facts: Facts): Found[] {
  return writers(facts).flatMap(({ node, session }) => {
    const [library, extension] = [releaseOf(node.citus?.version ?? null), seenIn(session)?.extension ?? null]
    const updated = releaseOf(extension)
    if (library === null || updated === null || library === updated) return []
    const update = psqlAsSuperuser(nameOf(facts, node), facts.survey.database, 'ALTER EXTENSION citus UPDATE')
    return [
      serverFound(
        facts,
        node,
        `the library is Citus ${library}, the extension ${extension}`,
        [`citus_version(): ${node.citus?.version}`],
        mend(update),
      ),
    ]
  })
}

function skew(facts: Facts, what: string, versionOf: (inspection: Inspection) => string | null): Found[] {
  const versions = new Map<string, string[]>()
  for (const inspection of facts.inspections) {
    const version = versionOf(inspection)
    if (version === null) continue
    versions.set(version, [...(versions.get(version) ?? []), formatAddress(nameOf(facts, inspection.node))])
  }
  if (versions.size < 2) return []
  const shown = [...versions].map(([version, nodes]) => `${what} ${version}: ${nodes.join(', ')}`)
  const summary = `${what} ${[...versions.keys()].join(' and ')} side by side`
  const [first] = facts.inspections
  const sql = what === 'Citus' ? 'SELECT citus_version()' : 'SELECT version()'
  const address = first ? nameOf(facts, first.node) : facts.coordinator.address
  const next = look(
    `${psqlAsOwnRole(address, facts.survey.database, sql)}   # on each; ${what} has to be upgraded where it is behind`,
  )
  return [{ group: null, node: null, summary, evidence: shown, next }]
}
