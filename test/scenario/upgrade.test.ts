import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { migrations } from '../../src/install/migrations.ts'
import { formatAddress } from '../../src/model/node.ts'
import { citusHa, Scenario } from '../support/scenario.ts'

/** What `install` of 0.1.0 granted. */
const CALLABLE = [
  'node_identity()',
  'read_copy()',
  'lock_copy(int[])',
  'fence(int[])',
  'cancel_metadata_sync()',
  'blockers(int)',
  'end_blockers(int)',
  'own_shards()',
  'lock_shards()',
  'open_transactions(timestamptz)',
  'end_open_transactions(timestamptz)',
  'held_transactions()',
  'end_held_transactions()',
  'end_citus_backends()',
  'recover_citus_transactions()',
  'may_have_address(int, text, int)',
  'in_time(int)',
  'rewrite(int, bigint, jsonb, int[])',
  'guard_transactions(int[])',
  'record_lineage(jsonb)',
  'decide(jsonb)',
  'register_secondary(jsonb)',
  'forget_node(text, int, text)',
  'forget_stale_remedies()',
  'intend(jsonb)',
  'forget_intents(int[])',
  'pause_changes(int, text, text)',
  'resume_changes(int)',
  'hold_lease(text, int)',
  'drop_lease(text)',
]

/** One node as 0.1.0 left it: migrations 1 and 2, and these roles. */
async function installOld(server: Server, database: string, roles: readonly string[]): Promise<void> {
  const old = migrations().filter(({ number }) => number <= 2)
  const statements = [
    'SET LOCAL citus.enable_ddl_propagation = off',
    ...old.map(
      ({ number, name, sql }) =>
        `${sql}; INSERT INTO citus_ha.migration (number, name) VALUES (${number}, '${name}')`,
    ),
    ...roles.flatMap((role) => [
      `CREATE ROLE ${role} LOGIN`,
      `GRANT pg_read_all_stats TO ${role}`,
      `GRANT USAGE ON SCHEMA citus_ha TO ${role}`,
      `GRANT SELECT ON ALL TABLES IN SCHEMA citus_ha TO ${role}`,
      `GRANT EXECUTE ON FUNCTION ${CALLABLE.map((each) => `citus_ha.${each}`).join(', ')} TO ${role}`,
    ]),
  ]
  await server.query(`BEGIN; ${statements.join('; ')}; COMMIT`, [], { database })
}

describe('a cluster that has the schema of citus-ha 0.1.0', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const as = (role: string) => ['--coordinator', server('coordinator').url(scenario.cluster.database, role)]
  const admin = () => ['--coordinator', server('coordinator').url(scenario.cluster.database)]

  beforeAll(async () => {
    scenario = await Scenario.start({ install: 'no', coordinatorStandbys: [] })
    const { database } = scenario.cluster
    for (const name of ['coordinator', 'worker-1', 'worker-2'])
      await installOld(server(name), database, ['citus_ha', 'operator'])
    await scenario.settle()
    await scenario.cluster.snapshot()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('is refused by this program, which says what to type', async () => {
    const ran = await citusHa(['reconcile', ...as('citus_ha')])
    expect(ran).toMatchObject({ exitCode: 2, stdout: '' })
    expect(ran.stderr).toMatch(/the schema citus_ha is old; a superuser .*: citus-ha install --coordinator/)
  })

  it('is taken along by install, which says what it changed, and then says that there is nothing more', async () => {
    const first = await citusHa(['install', ...admin()])
    expect(first).toMatchObject({ exitCode: 0 })
    for (const name of ['coordinator', 'worker-1', 'worker-2'])
      expect(first.stdout).toMatch(new RegExp(`${at(name)}, database .*: migrations 3`))
    const again = await citusHa(['install', ...admin()])
    expect(again).toMatchObject({ exitCode: 0 })
    expect(again.stdout).toContain('up to date')
    expect(again.stdout).not.toMatch(/migrations/)
  })

  it.each(['citus_ha', 'operator'])(
    'every role that it knew follows a failover afterwards: %s',
    async (role) => {
      expect(await citusHa(['install', ...admin()])).toMatchObject({ exitCode: 0 })
      await scenario.settle()
      await server('worker-1').kill()
      await server('worker-1-standby').promote()
      const report = await scenario.reconcileWith(as(role))
      expect(report).toMatchObject({ outcome: 'changed', exitCode: 0 })
      expect(await scenario.rows(server('coordinator'))).toContain(
        `2 group 1 primary ${at('worker-1-standby')}`,
      )
    },
  )

  it('keeps what it had recorded', async () => {
    const { database } = scenario.cluster
    await server('coordinator').query(`SELECT citus_ha.pause_changes(1, 'somebody', 'a reason')`, [], {
      database,
    })
    expect(await citusHa(['install', ...admin()])).toMatchObject({ exitCode: 0 })
    const ran = await citusHa(['status', ...as('citus_ha'), '--json'])
    expect(ran.stdout).toContain('a reason')
  })
})
