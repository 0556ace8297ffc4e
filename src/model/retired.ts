import type { Diagnosis } from './diagnosis.ts'
import { formatAddress } from './node.ts'
import type { Answered, Survey } from './observation.ts'

/** An old primary that a switchover left running, read-only, and the primary that has taken its place. */
export interface Retired {
  readonly group: number
  readonly node: Answered
  readonly primary: Answered
}

export function retiredIn(survey: Survey, diagnoses: readonly Diagnosis[]): Retired[] {
  return diagnoses.flatMap(({ group, primary }) => {
    if (!primary) return []
    const old = survey.nodes
      .filter((node): node is Answered => node.kind === 'answered' && !node.inRecovery && node.readOnly)
      .filter(
        (node) => node.citus?.localGroup === group && node.systemIdentifier === primary.systemIdentifier,
      )
      .filter((node) => node.instance !== primary.instance)
    const distinct = old.filter(
      (node, n) => old.findIndex(({ instance }) => instance === node.instance) === n,
    )
    return distinct.map((node) => ({ group, node, primary }))
  })
}

/** What makes a standby of it, run where it lives. */
export function rejoinCommand({ primary }: Retired, database: string): string {
  const { host, port } = primary.address
  return `pg_ctl stop -m fast -D DATA_DIRECTORY && pg_rewind -D DATA_DIRECTORY -R --source-server="host=${host} port=${port} dbname=${database}" && pg_ctl start -D DATA_DIRECTORY`
}

export function describeRetired(retired: Retired, database: string): string {
  const { group, node } = retired
  return `group ${group}: ${formatAddress(node.address)}, an old primary, runs on read-only: ${rejoinCommand(retired, database)}   # or rebuild it by pg_basebackup`
}
