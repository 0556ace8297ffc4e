import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jsonLiteral } from '../../src/db/sql.ts'
import type { Server } from '../../src/demo/server.ts'
import { client, Scenario } from '../support/scenario.ts'

describe('what the role that citus-ha runs as may do', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const as = (sql: string, user = 'citus_ha') =>
    server('coordinator').query(sql, [], { database: scenario.cluster.database, user })
  const FENCE = `BEGIN; SELECT citus_ha.fence('{}')`
  const CHANGE = 'BEGIN; SELECT citus_ha.take_change_lock()'
  const rewrite = (steps: object[]) =>
    as(`${FENCE}; SELECT citus_ha.rewrite(9, 9, ${jsonLiteral(steps)}, '{}')`)
  const address = (name: string) => ({ host: server(name).host, port: server(name).port })

  beforeAll(async () => {
    scenario = await Scenario.start({ coordinatorStandbys: [], workers: [{ standbys: [{}] }, {}] })
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('is no superuser, owns nothing and can only log in, read statistics and execute', async () => {
    const roles = await as(
      `SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = 'citus_ha'`,
    )
    expect(roles).toEqual([
      {
        rolsuper: false,
        rolcreaterole: false,
        rolcreatedb: false,
        rolreplication: false,
        rolbypassrls: false,
      },
    ])
    expect(await as(`SELECT FROM pg_class WHERE relowner = 'citus_ha'::regrole`)).toEqual([])
  })

  it.each([
    [`UPDATE pg_dist_node SET nodename = 'evil.example' WHERE nodeid = 2`],
    [`INSERT INTO citus_ha.allowed_address VALUES (1, 'evil.example', 5432)`],
    [`INSERT INTO citus_ha.former_address VALUES (1, 'evil.example', 5432)`],
    [`DELETE FROM citus_ha.change`],
    [`INSERT INTO citus_ha.pause (by) VALUES ('somebody else')`],
    ['BEGIN; LOCK TABLE citus_ha.lead_lock IN EXCLUSIVE MODE'],
    ['BEGIN; LOCK TABLE citus_ha.change_lock IN EXCLUSIVE MODE'],
    [`SELECT citus_ha.move_node(2, 'evil.example', 5432)`],
    [`SELECT citus_ha.take_step('{}')`],
    [`SELECT citus_update_node(2, 'evil.example', 5432)`],
    [`CREATE TABLE citus_ha.trap ()`],
  ])('may not: %s', async (sql) => {
    await expect(as(sql)).rejects.toMatchObject({ code: '42501' })
  })

  it('may not bring in an address that is neither the group’s own nor allowed', async () => {
    const move = {
      op: 'move',
      nodeid: 2,
      from: address('worker-1'),
      to: { host: 'evil.example', port: 5432 },
    }
    await expect(rewrite([move])).rejects.toMatchObject({ code: 'HA003' })
    const other = { ...move, to: { ...address('worker-2'), host: '::ffff:127.0.0.1' } }
    await expect(rewrite([other])).rejects.toMatchObject({ code: 'HA003' })
  })

  const standby = (change: object = {}) => {
    const primary = address('worker-1')
    const given = { group: 1, address: { host: 'evil.example', port: 5432 }, primary, cluster: 'default' }
    const order = jsonLiteral({ ...given, madeBy: 'me', ...change })
    return as(`${CHANGE}; SELECT citus_ha.register_secondary(${order}); COMMIT`)
  }
  const forget = ({ host, port }: { host: string; port: number }) =>
    as(`${CHANGE}; SELECT citus_ha.forget_node('${host}', ${port}, 'me')`)

  it('may add a secondary at an allowed address that has no row, and nowhere else', async () => {
    await expect(standby()).rejects.toMatchObject({ code: 'HA003' })
    const mapped = { ...address('worker-2'), host: '::ffff:127.0.0.1' }
    await expect(standby({ address: mapped })).rejects.toMatchObject({ code: 'HA003' })
    const own = { ...address('worker-1-standby'), host: '::ffff:127.0.0.1' }
    await expect(standby({ address: own })).rejects.toMatchObject({ code: 'HA002' })
    const allowed = { host: 'spare.example', port: 5432 }
    await server('coordinator').query(
      `INSERT INTO citus_ha.allowed_address VALUES (1, 'spare.example', 5432)`,
      [],
      { database: scenario.cluster.database },
    )
    const other = { address: allowed, primary: address('worker-2') }
    await expect(standby(other)).rejects.toMatchObject({ code: 'HA002' })
    await expect(standby({ address: allowed, group: 2 })).rejects.toMatchObject({ code: 'HA003' })
  })

  const evil = { host: 'evil.example', port: 5432 }

  it('may note an intent of a group’s own addresses only: every survey connects to them', async () => {
    const intend = (change: object) => {
      const own = { group: 1, from: address('worker-1'), to: address('worker-1-standby') }
      const rest = { phase: 'quiescing', byCommand: false, stopped: false, madeBy: 'me', run: 'one' }
      const sql = jsonLiteral([{ ...own, ...rest, ...change }])
      return as(`${FENCE}; SELECT citus_ha.intend(${sql}); ROLLBACK`)
    }
    await intend({})
    const from = address('coordinator')
    await intend({ group: 0, from, to: from })
    const others = [
      evil,
      address('worker-2'),
      { ...address('worker-1'), port: 1 },
      { host: null, port: null },
    ]
    for (const other of others) {
      await expect(intend({ to: other }), JSON.stringify(other)).rejects.toMatchObject({ code: 'HA003' })
      await expect(intend({ from: other }), JSON.stringify(other)).rejects.toMatchObject({ code: 'HA003' })
    }
    await expect(intend({ group: 2 })).rejects.toMatchObject({ code: 'HA003' })
  })

  it('may note a remedy of a group’s own addresses only', async () => {
    const decide = (change: object) => {
      const own = address('worker-1-standby')
      const remedy = {
        nodeid: 4,
        group: 1,
        address: own,
        rack: 'default',
        isactive: true,
        given: own,
        ...change,
      }
      const none = {
        gids: [],
        groups: [],
        evidence: [],
        before: [],
        after: [],
        proofs: [],
        remediesEnded: [],
      }
      const decision = { timeline: 9, epoch: 9, reason: 'none', madeBy: 'me', ...none, remedies: [remedy] }
      const rewritten = `${CHANGE}; SELECT citus_ha.lock_copy('{}'); SELECT citus_ha.rewrite(9, 9, '[]', '{}')`
      return as(`${rewritten}; SELECT citus_ha.decide(${jsonLiteral(decision)}); ROLLBACK`)
    }
    await decide({})
    for (const other of [evil, address('worker-2')]) {
      await expect(decide({ address: other })).rejects.toMatchObject({ code: 'HA003' })
      await expect(decide({ given: other })).rejects.toMatchObject({ code: 'HA003' })
    }
  })

  it('may take no primary’s row away', async () => {
    for (const name of ['coordinator', 'worker-1', 'worker-2'])
      await expect(forget(address(name))).rejects.toMatchObject({ code: 'HA004' })
    expect(await forget({ host: 'nowhere.example', port: 1 })).toEqual([{ forget_node: null }])
  })

  it('may take the row away that a remedy has lent out, not one that somebody has changed since', async () => {
    const session = await client(server('coordinator'), scenario.cluster.database)
    const own = address('worker-1-standby')
    const elsewhere = { host: 'elsewhere.example', port: 5432 }
    const forgets = async ({ host, port }: typeof own) => {
      const { rows } = await session.query(`SELECT citus_ha.forget_node('${host}', ${port}, 'me') AS row`)
      return rows[0]?.row?.nodename ?? null
    }
    /** As it would be after a remedy on the row of node `from`, and whoever changed the row since. */
    const lent = async (from: typeof own, given: typeof own, isactive = true) => {
      const row = `UPDATE pg_dist_node SET isactive = ${isactive} WHERE noderole = 'secondary' RETURNING nodeid`
      const values = `nodeid, 1, '${from.host}', ${from.port}, 'default', true, '${given.host}', ${given.port}, now()`
      await session.query(
        `DELETE FROM citus_ha.remedy; WITH row AS (${row}) INSERT INTO citus_ha.remedy SELECT ${values} FROM row`,
      )
      const { rows } = await session.query('SELECT FROM citus_ha.standing_remedies()')
      return rows.length
    }
    try {
      await session.query('BEGIN; SELECT citus_ha.take_change_lock()')
      expect(await lent(elsewhere, { ...elsewhere, port: 1 })).toBe(0)
      expect(await forgets(elsewhere)).toBeNull()
      expect(await lent(own, own)).toBe(0)
      expect(await lent(own, own, false)).toBe(1)
      expect(await lent(elsewhere, own)).toBe(1)
      expect(await forgets(elsewhere)).toBe(own.host)
    } finally {
      await session.end()
    }
  })

  it('may not leave a row at the address it parks in, nor change a nodeid, group, role or cluster', async () => {
    const parked = { host: 'citus-ha-moving-2.invalid', port: address('worker-1').port }
    await expect(
      rewrite([{ op: 'move', nodeid: 2, from: address('worker-1'), to: parked }]),
    ).rejects.toMatchObject({ code: 'HA004' })
    for (const column of [
      'nodeid',
      'groupid',
      'noderole',
      'nodecluster',
      'hasmetadata',
      `isactive" = false, "nodeid`,
    ]) {
      const step = { op: 'set', nodeid: 2, column, from: 1, to: 7 }
      await expect(rewrite([step]), column).rejects.toMatchObject({ code: 'HA004' })
    }
  })

  it('refuses an epoch that is not newer, and a copy that is not as expected', async () => {
    const stale = as(`${FENCE}; SELECT citus_ha.rewrite(0, 0, '[]', '{}')`)
    await expect(stale).rejects.toMatchObject({ code: 'HA001' })
    const from = { host: 'elsewhere.example', port: 5432 }
    await expect(
      rewrite([{ op: 'move', nodeid: 2, from, to: address('worker-1-standby') }]),
    ).rejects.toMatchObject({ code: 'HA002' })
  })

  it('gains nothing by a search_path of its own', async () => {
    await server('coordinator').query(
      `CREATE SCHEMA trap AUTHORIZATION citus_ha; GRANT TEMP ON DATABASE ${scenario.cluster.database} TO citus_ha`,
      [],
      { database: scenario.cluster.database },
    )
    const trap = `CREATE FUNCTION trap.canonical_host(text) RETURNS text LANGUAGE sql AS 'SELECT ''same'''`
    const lower = `CREATE FUNCTION trap.lower(text) RETURNS text LANGUAGE sql AS 'SELECT ''same'''`
    const step = JSON.stringify([
      {
        op: 'move',
        nodeid: 2,
        from: address('worker-1'),
        to: { host: 'evil.example', port: address('worker-1').port },
      },
    ])
    const attack = as(
      `${trap}; ${lower}; SET search_path = trap, pg_catalog; CREATE TEMP TABLE pg_dist_node (LIKE pg_catalog.pg_dist_node);
       ${FENCE}; SELECT citus_ha.rewrite(9, 9, '${step}', '{}')`,
    )
    await expect(attack).rejects.toMatchObject({ code: 'HA003' })
  })

  it('gains nothing by operators of its own', async () => {
    const { database } = scenario.cluster
    await server('coordinator').query('CREATE SCHEMA IF NOT EXISTS traps AUTHORIZATION citus_ha', [], {
      database,
    })
    const operators = ['text', 'int', 'bigint', 'name'].flatMap((type) => [
      `CREATE FUNCTION traps.always(${type}, ${type}) RETURNS boolean LANGUAGE sql AS 'SELECT true'`,
      `CREATE OPERATOR traps.= (LEFTARG = ${type}, RIGHTARG = ${type}, FUNCTION = traps.always)`,
      `CREATE OPERATOR traps.<> (LEFTARG = ${type}, RIGHTARG = ${type}, FUNCTION = traps.always)`,
    ])
    const to = { host: 'evil.example', port: address('worker-1').port }
    const step = JSON.stringify([{ op: 'move', nodeid: 2, from: address('worker-1'), to }])
    const attack = as(
      `${operators.join('; ')}; SET search_path = traps, pg_catalog; ${FENCE}; SELECT citus_ha.rewrite(9, 9, '${step}', '{}')`,
    )
    await expect(attack).rejects.toMatchObject({ code: 'HA003' })
  })

  it.each([`worker'); DROP TABLE items; --`, '127.0.0.1; SELECT 1', '127.0.0._', '%', '::ffff:127.0.0.2'])(
    'gains nothing by the node name %s',
    async (host) => {
      const from = address('worker-1')
      const step = { op: 'move', nodeid: 2, from, to: { host, port: from.port } }
      await expect(rewrite([step])).rejects.toMatchObject({ code: 'HA003' })
    },
  )

  it('reconciles with a role whose transactions are repeatable read by default', async () => {
    for (const name of ['coordinator', 'worker-1', 'worker-2']) {
      await server(name).query(`ALTER ROLE citus_ha SET default_transaction_isolation = 'repeatable read'`)
    }
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed', exitCode: 0 })
  })
})
