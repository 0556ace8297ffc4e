import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { commit, keysOf, standin } from '../support/clients.ts'
import { copyIn } from '../support/copy-in.ts'
import { WAYS } from '../support/retiring.ts'
import { client, Scenario } from '../support/scenario.ts'
import { SHORT_LIVED } from '../support/switching.ts'

/** Ids of rows that are nowhere yet, by the group that their shards are in. */
type Fresh = (group: number) => number

/** What a client does there: the ids of `items` and of `currencies` that it writes. */
interface Attempt {
  readonly items: readonly number[]
  readonly currency: number | null
  readonly write: (session: pg.Client) => Promise<unknown>
}

const insert = (id: number) => `INSERT INTO items VALUES (${id}, 'after it was retired')`

const KINDS: Readonly<Record<string, (fresh: Fresh) => Attempt>> = {
  'over two groups': (fresh) => {
    const items = [fresh(1), fresh(2)]
    const write = async (session: pg.Client) => {
      await session.query('BEGIN READ WRITE')
      for (const id of items) await session.query(insert(id))
      await commit(session)
    }
    return { items, currency: null, write }
  },
  'in its own group': (fresh) => one(fresh(1)),
  'in another group': (fresh) => one(fresh(2)),
  'by COPY over two groups': (fresh) => {
    const items = [fresh(1), fresh(2)]
    const rows = items.map((id) => `${id}\tafter it was retired\n`).join('')
    return { items, currency: null, write: (session) => copyIn(session, 'COPY items FROM STDIN', rows) }
  },
  'in a reference table': (fresh) => {
    const currency = fresh(1)
    const write = (session: pg.Client) => session.query(`INSERT INTO currencies VALUES (${currency})`)
    return { items: [], currency, write }
  },
  'in every group': () => ({
    items: [],
    currency: null,
    write: (session) => session.query(`UPDATE items SET note = 'by an old primary'`),
  }),
}

function one(id: number): Attempt {
  return { items: [id], currency: null, write: (session) => session.query(insert(id)) }
}

/** How a client says that it means to write. */
const INSISTS = [
  [],
  ['SET default_transaction_read_only = off'],
  [
    'SET default_transaction_read_only = off',
    'SET citus.allow_modifications_from_workers_to_replicated_tables = on',
  ],
] as const

describe.skipIf(standin)('what a retired primary acknowledges its successor’s cluster has', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const ask = async <Row extends object>(node: Server, sql: string, values: unknown[] = []) =>
    await node.query<Row>(sql, values, { database: scenario.cluster.database })

  beforeAll(async () => {
    scenario = await Scenario.start({
      coordinatorStandbys: [{ kind: 'standby' }],
      settings: SHORT_LIVED,
      install: 'no',
    })
    await ask(server('coordinator'), 'CREATE TABLE currencies (id int PRIMARY KEY)')
    await ask(server('coordinator'), `SELECT create_reference_table('currencies')`)
    await scenario.install('--switchover')
    await scenario.settle()
    await scenario.cluster.snapshot()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  describe.each([
    { group: 0, old: 'coordinator' },
    { group: 1, old: 'worker-1' },
  ])('group $group', ({ group, old: name }) => {
    it.each(WAYS)('$name', async ({ retire }) => {
      const { cluster } = scenario
      const [old, primary] = [server(name), server(`${name}-standby`)]
      const keys = new Map<number, number[]>()
      for (const each of [1, 2]) keys.set(each, await keysOf(cluster, each, 600_000, 602_000))
      const fresh: Fresh = (of) => {
        const id = keys.get(of)?.shift()
        if (id === undefined) throw new Error(`no key of group ${of} is left`)
        return id
      }
      const before = await client(old, cluster.database)
      // It has a connection to each node from then on, and has read where it will write.
      for (const of of [1, 2]) await before.query(insert(fresh(of)))
      await before.query(`INSERT INTO currencies VALUES (${fresh(1)})`)

      await retire(scenario, group, old, primary)
      await scenario.run('reconcile')
      if (!old.isRunning) return

      const acknowledged: Attempt[] = []
      const attempt = async (session: pg.Client, made: Attempt) =>
        made.write(session).then(
          () => acknowledged.push(made),
          () => session.query('ROLLBACK').catch(() => undefined),
        )
      for (const kind of Object.values(KINDS)) await attempt(before, kind(fresh))
      await before.end().catch(() => undefined)
      for (const insists of INSISTS)
        for (const kind of Object.values(KINDS)) {
          const session = await client(old, cluster.database)
          for (const sql of insists) await session.query(sql)
          await attempt(session, kind(fresh))
          await session.end()
        }

      const living = group === 0 ? primary : server('coordinator')
      const ids = acknowledged.flatMap(({ items }) => items).sort((a, b) => a - b)
      const found = await ask<{ id: number }>(
        living,
        'SELECT id FROM items WHERE id = ANY ($1) ORDER BY id',
        [ids],
      )
      expect(found.map(({ id }) => id)).toEqual(ids)
      // Rows of the start: an update of all is there whole, or not at all.
      const altered = `SELECT DISTINCT note = 'by an old primary' AS altered FROM items WHERE id <= 200`
      expect(await ask(living, altered)).toHaveLength(1)
      // Each node has a copy of its own, and reads that one.
      const nodes =
        group === 0
          ? [primary, server('worker-1'), server('worker-2')]
          : [living, primary, server('worker-2')]
      const copies = await Promise.all(
        nodes.map((node) => ask(node, 'SELECT id FROM currencies ORDER BY id')),
      )
      for (const copy of copies) expect(copy).toEqual(copies[0])
      const has = await ask<{ id: number }>(living, 'SELECT id FROM currencies')
      const currencies = acknowledged.flatMap(({ currency }) => currency ?? [])
      expect(has.map(({ id }) => id)).toEqual(expect.arrayContaining(currencies))
    })
  })
})

describe.skipIf(standin)('an old coordinator from which a standby streams still', () => {
  let scenario: Scenario
  beforeAll(async () => {
    scenario = await Scenario.start({
      coordinatorStandbys: [{ kind: 'standby' }, { kind: 'standby' }],
      settings: SHORT_LIVED,
      install: 'no',
    })
    await scenario.install('--switchover')
    await scenario.settle()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('is not cut off: clients of that standby go on reading', async () => {
    const { cluster } = scenario
    const { database } = cluster
    const [target, other] = cluster.coordinatorStandbys
    if (!target || !other) throw new Error('there is no second standby')
    const count = 'SELECT count(*)::int AS n FROM items'
    const before = await other.query(count, [], { database })
    const ran = await scenario.run('switchover', '--yes', '--group', '0', '--to', formatAddress(target))
    expect(ran.exitCode, ran.stdout + ran.stderr).toBe(0)
    const [local] = await cluster
      .server('coordinator')
      .query<{ groupid: number }>('SELECT groupid FROM pg_dist_local_group', [], { database })
    expect(local).toEqual({ groupid: 1_000_000_000 })
    await waitUntil('it has replayed that', async () => {
      const rows = await other.query('SELECT FROM pg_dist_local_group WHERE groupid >= 1000000000', [], {
        database,
      })
      return rows.length === 1
    })
    expect(await other.query(count, [], { database })).toEqual(before)
  })
})
