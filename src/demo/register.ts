import type pg from 'pg'
import type { Member } from './replication.ts'
import type { Server } from './server.ts'
import { type ClusterSpec, coordinatorStandbysOf, workersOf } from './topology.ts'

interface Standby {
  readonly server: Server
  readonly registered?: boolean
  readonly nodecluster?: string
}

/** Fills pg_dist_node of a new cluster from the coordinator; workers get the groups 1, 2, … in their order. */
export async function registerNodes(
  spec: ClusterSpec,
  members: readonly Member[],
  database: string,
): Promise<void> {
  const [coordinator, ...ownStandbys] = inGroup(members, 0)
  if (coordinator === undefined) throw new Error('a cluster without a coordinator')
  const workers = workersOf(spec).map(({ metadata = true, standbys: specs = [] }, index) => {
    const [primary, ...servers] = inGroup(members, index + 1)
    if (primary === undefined) throw new Error(`group ${index + 1} is empty`)
    return { primary, metadata, standbys: servers.map((server, at) => ({ server, ...specs[at] })) }
  })
  const specs = coordinatorStandbysOf(spec)
  const standbys = ownStandbys.map((server, at) => ({ server, registered: specs[at]?.registered ?? false }))
  await coordinator.withClient(
    async (client) => {
      await client.query('select citus_set_coordinator_host($1, $2)', [coordinator.host, coordinator.port])
      for (const { primary, metadata } of workers) {
        const address = [primary.host, primary.port]
        await client.query('select citus_add_node($1, $2)', address)
        if (!metadata) await client.query('select stop_metadata_sync_to_node($1, $2)', address)
      }
      for (const { primary, standbys } of workers) await addSecondaries(client, primary, standbys)
      await addSecondaries(client, coordinator, standbys)
    },
    { database },
  )
}

function inGroup(members: readonly Member[], group: number): Server[] {
  return members.filter((member) => member.group === group).map(({ server }) => server)
}

/** Registers one more standby as a secondary of a registered primary. */
export async function registerSecondary(
  coordinator: Server,
  standby: Server,
  primary: Server,
  nodecluster: string | undefined,
  database: string,
): Promise<void> {
  const entry = nodecluster === undefined ? { server: standby } : { server: standby, nodecluster }
  await coordinator.withClient((client) => addSecondaries(client, primary, [entry]), { database })
}

async function addSecondaries(
  client: pg.Client,
  primary: Server,
  standbys: readonly Standby[],
): Promise<void> {
  for (const { server, registered = true, nodecluster = 'default' } of standbys) {
    if (!registered) continue
    await client.query('select citus_add_secondary_node($1, $2, $3, $4, $5)', [
      server.host,
      server.port,
      primary.host,
      primary.port,
      nodecluster,
    ])
  }
}
