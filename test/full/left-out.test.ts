import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { insert, keysOf, standin, Writer } from '../support/clients.ts'
import { Scenario } from '../support/scenario.ts'

/** A copy that nobody can write, Citus's own sync no more than we. */
const RAISES = `SET citus.enable_ddl_propagation = off;
  CREATE FUNCTION public.raises() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$not here$$; END';
  SET allow_system_table_mods = on;
  CREATE TRIGGER raises BEFORE INSERT OR UPDATE OR DELETE ON pg_catalog.pg_dist_node
    FOR EACH ROW EXECUTE FUNCTION public.raises()`

const HEALS = `SET citus.enable_ddl_propagation = off; SET allow_system_table_mods = on; DROP FUNCTION public.raises() CASCADE`

describe.skipIf(standin)('a copy is left out while the old primary of the group lives', () => {
  let scenario: Scenario
  let writer: Writer | null = null
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const sql = (name: string, text: string) =>
    server(name).query(text, [], { database: scenario.cluster.database })

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    await writer?.stop()
    writer = null
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** A reconcile after a promotion, with writes to group 1 through the copy that is left out. */
  async function failOver(
    old?: string,
  ): Promise<{ ran: Awaited<ReturnType<Scenario['run']>>; decidedAt: number }> {
    const { cluster } = scenario
    await server('worker-1-standby').promote()
    if (old) await sql('worker-1', old)
    const own = new Writer(server('worker-2'), cluster.database, await keysOf(cluster, 1), insert, 'one')
    writer = own
    await waitUntil('it writes', () => own.acknowledged.length > 3)
    let decidedAt = Number.POSITIVE_INFINITY
    const hooks = {
      reached: async (point: string) => {
        if (point === 'decided') decidedAt = performance.now()
      },
    }
    const args = ['--group', '1', '--promoted', promoted(), '--timeout', '5s']
    const ran = await scenario.runWith(hooks, 'reconcile', ...args)
    const tried = own.acknowledged.length + own.failures.length
    await waitUntil('it was tried again', () => own.acknowledged.length + own.failures.length > tried + 20)
    await own.stop()
    return { ran, decidedAt }
  }

  /** Of these ids, those that the new primary has not got: lost. */
  async function lost(ids: readonly number[]): Promise<number[]> {
    const { coordinator, database } = scenario.cluster
    const rows = await coordinator.query<{ id: number }>('SELECT id FROM items WHERE id = ANY ($1)', [ids], {
      database,
    })
    const kept = new Set(rows.map(({ id }) => id))
    return ids.filter((id) => !kept.has(id))
  }

  const heal = () => sql('worker-2', HEALS)
  const promoted = () => at('worker-1-standby')

  it('that can be closed: no write through that copy is acknowledged and lost, and later it is right', async () => {
    await sql('worker-2', RAISES)
    const { ran, decidedAt } = await failOver()
    const said = ran.stdout + ran.stderr
    expect(ran.exitCode, said).toBe(5)
    expect(said).toMatch(new RegExp(`${at('worker-2')} .*stale.*P0001`))
    expect(await lost(writer?.acknowledgedSince(decidedAt) ?? []), said).toEqual([])
    expect(writer?.failures.at(-1)).toMatch(/old primary, and takes no writes any more/)
    await heal()
    expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
    const [id = 0] = await keysOf(scenario.cluster, 1, 30_000)
    await sql('worker-2', `INSERT INTO items VALUES (${id}, 'right')`)
    expect(await lost([id])).toEqual([])
  })

  it('without our schema, and nobody is left out: done without it at once, and named', async () => {
    const { ran } = await failOver('ALTER SCHEMA citus_ha RENAME TO away')
    const said = ran.stdout + ran.stderr
    expect(ran.exitCode, said).toBe(5)
    expect(said).toMatch(
      new RegExp(`${at('worker-1')} takes writes and could not be fenced.*3F000.*pg_ctl stop`),
    )
    expect(said).not.toMatch(/trying again/)
    expect(await scenario.rows(server('worker-2'))).toContain(`2 group 1 primary ${promoted()}`)
  })

  it.each([
    ['it may not be fenced', 'REVOKE EXECUTE ON FUNCTION citus_ha.lock_shards() FROM citus_ha'],
    ['it has no schema of ours', 'ALTER SCHEMA citus_ha RENAME TO away'],
    ['it may not be retired', 'REVOKE EXECUTE ON FUNCTION citus_ha.retire(jsonb) FROM citus_ha'],
  ])('that can’t be closed, since %s: nothing is changed, and the way out is said', async (_, revoke) => {
    await sql('worker-2', RAISES)
    const { ran } = await failOver(revoke)
    const said = ran.stdout + ran.stderr
    expect(ran.exitCode, said).toBe(4)
    expect(said).toContain(`${at('worker-2')} takes no part`)
    expect(said).toMatch(new RegExp(`${at('worker-1')}, which is running and cannot be closed.*pg_ctl stop`))
    expect(writer?.failures).toEqual([])
    const rows = await scenario.rows(server('coordinator'))
    expect(rows).toContain(`2 group 1 primary ${at('worker-1')}`)
    await server('worker-1').kill()
    const ended = await scenario.run('reconcile', '--group', '1', '--promoted', promoted())
    expect(ended.exitCode, ended.stdout + ended.stderr).toBe(5)
    expect(await scenario.rows(server('coordinator'))).toContain(`2 group 1 primary ${promoted()}`)
  })
})
