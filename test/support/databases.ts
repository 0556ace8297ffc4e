import { installBackend } from '../../src/demo/backend.ts'
import { registerNodes } from '../../src/demo/register.ts'
import type { Scenario } from './scenario.ts'

/** Gives a running cluster, as it was built, one more database: created, with Citus, its nodes registered. */
export async function addDatabase({ cluster }: Scenario, database: string): Promise<void> {
  const { coordinator, coordinatorStandbys, workers, backend } = cluster
  const primaries = [coordinator, ...workers.map(({ primary }) => primary)]
  for (const primary of primaries) {
    await primary.query(`CREATE DATABASE ${database}`, [], { database: 'postgres' })
    await installBackend(primary, database, backend.kind)
  }
  const members = [
    ...[coordinator, ...coordinatorStandbys].map((server) => ({ server, group: 0 })),
    ...workers.flatMap(({ group, primary, standbys }) =>
      [primary, ...standbys].map((server) => ({ server, group })),
    ),
  ]
  await registerNodes({}, members, database)
}
