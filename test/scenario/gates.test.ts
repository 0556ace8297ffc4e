import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jsonLiteral } from '../../src/db/sql.ts'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { Scenario } from '../support/scenario.ts'

type At = 'coordinator' | 'worker-1'

interface Gate {
  /** As `regprocedure` has it. */
  readonly of: string
  /** What is sent in a session and, unless it says BEGIN, in transactions of its own. */
  readonly call: string | ((about: About) => string)
  readonly on?: readonly At[]
  /** Why it is refused; null: it is not, and changes nothing all the same. */
  readonly refused: RegExp | null
}

interface About {
  /** A session of the role that waits for an advisory lock of a superuser's. */
  readonly waiter: number
  readonly address: (name: string) => { readonly host: string; readonly port: number }
}

const READS: readonly [of: string, call: string][] = [
  ['node_identity()', 'node_identity()'],
  ['untranslate_messages()', 'untranslate_messages()'],
  ['read_copy()', 'read_copy()'],
  ['may_have_address(integer,text,integer)', `may_have_address(1, 'x', 1)`],
  ['own_shards()', 'own_shards()'],
  ['blockers(integer)', 'blockers(pg_backend_pid())'],
  ['open_transactions(timestamp with time zone)', `open_transactions('infinity')`],
  ['held_transactions()', 'held_transactions()'],
  ['other_sessions(jsonb)', `other_sessions('[]')`],
  ['writing_sessions()', 'writing_sessions()'],
  ['in_time(integer)', 'in_time(1000)'],
  // What each node does by itself, every minute.
  ['recover_citus_transactions()', 'recover_citus_transactions()'],
]
/** Locks that go with the transaction; what others are for. */
const LOCKS: readonly [of: string, call: string][] = [
  ['take_change_lock()', 'take_change_lock()'],
  ['take_lead()', 'take_lead()'],
  ['lock_copy(integer[])', `lock_copy('{1}')`],
  ['fence(integer[])', `fence('{1}')`],
  ['lock_shards()', 'lock_shards()'],
  ['lock_other_tables()', 'lock_other_tables()'],
]

const proof = (change: object) =>
  jsonLiteral([{ group: 1, systemIdentifier: '1', timeline: 7, history: '', ...change }])
const intents = ({ address }: About) => {
  const own = { group: 1, from: address('worker-1'), to: address('worker-1-standby') }
  const rest = { phase: 'quiescing', byCommand: false, stopped: false, madeBy: 'me', run: 'one' }
  return jsonLiteral([{ ...own, ...rest }])
}
const DECISION = jsonLiteral({
  ...{ timeline: 1, epoch: 99, reason: 'none', madeBy: 'me' },
  ...{
    gids: [],
    groups: [],
    evidence: [],
    before: [],
    after: [],
    proofs: [],
    remedies: [],
    remediesEnded: [],
  },
})

const NO_FENCE = /this transaction holds no fence/
const NO_CHANGE = /this transaction does not hold the change lock/
const NO_SHARDS = /this transaction does not hold the shards of this server/
const NO_SWITCHOVER = /no switchover of this server is on record/

const GATES: readonly Gate[] = [
  ...[...READS, ...LOCKS].map(([of, call]): Gate => ({ of, call: `SELECT citus_ha.${call}`, refused: null })),
  {
    of: 'cancel_metadata_sync()',
    call: 'SELECT citus_ha.cancel_metadata_sync()',
    refused: NO_CHANGE,
  },
  {
    of: 'end_blockers(integer)',
    call: ({ waiter }) => `SELECT citus_ha.end_blockers(${waiter})`,
    on: ['coordinator'],
    refused: /session \d+ is not one of this role’s that waits for a lock of a change/,
  },
  {
    of: 'end_open_transactions(timestamp with time zone)',
    call: `SELECT citus_ha.end_open_transactions('infinity')`,
    refused: NO_SWITCHOVER,
  },
  {
    of: 'end_held_transactions()',
    call: 'BEGIN; SELECT citus_ha.lock_shards(); SELECT citus_ha.end_held_transactions()',
    refused: NO_SWITCHOVER,
  },
  {
    of: 'end_other_sessions(jsonb)',
    call: `SELECT citus_ha.end_other_sessions('[]')`,
    refused: NO_SWITCHOVER,
  },
  {
    of: 'end_other_sessions(jsonb)',
    call: (about) => `BEGIN; SELECT citus_ha.fence('{}'); SELECT citus_ha.intend(${intents(about)});
      SELECT citus_ha.end_other_sessions('[]')`,
    on: ['worker-1'],
    refused: /nobody holds the shards of this server/,
  },
  { of: 'end_writing_sessions()', call: 'SELECT citus_ha.end_writing_sessions()', refused: NO_SWITCHOVER },
  { of: 'end_citus_backends()', call: 'SELECT citus_ha.end_citus_backends()', refused: NO_SHARDS },
  { of: 'end_clients()', call: 'SELECT citus_ha.end_clients()', refused: NO_SHARDS },
  { of: 'hold_recovery()', call: 'SELECT citus_ha.hold_recovery()', refused: NO_SHARDS },
  ...['end_maintenance_daemons()', 'cancel_maintenance_daemons()'].map(
    (of): Gate => ({ of, call: `SELECT citus_ha.${of}`, refused: /citus\.recover_2pc_interval is not -1/ }),
  ),
  {
    of: 'retire(jsonb)',
    call: ({ address }) =>
      `SELECT citus_ha.retire(${jsonLiteral({ group: 1, to: address('worker-1-standby'), madeBy: 'me' })})`,
    on: ['worker-1'],
    refused: NO_SHARDS,
  },
  {
    of: 'rewrite(integer,bigint,jsonb,integer[])',
    call: `SELECT citus_ha.rewrite(coordinator_timeline, epoch + 1, '[]', '{}') FROM citus_ha.epoch`,
    refused: NO_FENCE,
  },
  {
    of: 'guard_transactions(integer[])',
    call: `SELECT citus_ha.guard_transactions('{1}')`,
    refused: NO_FENCE,
  },
  {
    of: 'record_lineage(jsonb)',
    call: `SELECT citus_ha.record_lineage(${proof({ vouched: true })})`,
    refused: /this transaction has not locked the copy/,
  },
  {
    of: 'record_lineage(jsonb)',
    call: `SELECT citus_ha.record_lineage(${proof({ group: 17 })})`,
    refused: /there is no group 17/,
  },
  {
    of: 'record_lineage(jsonb)',
    call: `SELECT citus_ha.record_lineage(jsonb_build_array(jsonb_build_object('group', groupid,
      'systemIdentifier', system_identifier, 'timeline', 99999, 'history', concat(timeline, E'\\t0/1')))) FROM citus_ha.lineage`,
    on: ['coordinator'],
    refused: /timeline 99999 of group \d cannot follow the one on record/,
  },
  {
    of: 'record_lineage(jsonb)',
    call: `SELECT citus_ha.record_lineage(${proof({})})`,
    on: ['coordinator'],
    refused: null,
  },
  {
    of: 'record_positions(jsonb)',
    call: `SELECT citus_ha.record_positions(${proof({ host: 'x', port: 1, inRecovery: false, lsn: '99' })})`,
    refused: null,
  },
  {
    of: 'record_vouched(jsonb,jsonb,text)',
    call: `SELECT citus_ha.record_vouched(${proof({})}, '[]', 'me')`,
    refused: NO_CHANGE,
  },
  { of: 'decide(jsonb)', call: `SELECT citus_ha.decide(${DECISION})`, refused: NO_CHANGE },
  {
    of: 'decide(jsonb)',
    call: `BEGIN; SELECT citus_ha.take_change_lock(); SELECT citus_ha.decide(${DECISION}); COMMIT`,
    refused: /this copy was not rewritten in epoch 99 of coordinator timeline 1/,
  },
  {
    of: 'register_secondary(jsonb)',
    call: ({ address }) => {
      const [own, primary] = [address('worker-1-standby'), address('worker-1')]
      const order = {
        group: 1,
        address: { ...own, host: '::ffff:127.0.0.1' },
        primary,
        cluster: 'default',
        madeBy: 'me',
      }
      return `SELECT citus_ha.register_secondary(${jsonLiteral(order)})`
    },
    refused: NO_CHANGE,
  },
  {
    of: 'forget_node(text,integer,text)',
    call: ({ address }) => {
      const { host, port } = address('worker-1-standby')
      return `SELECT citus_ha.forget_node('${host}', ${port}, 'me')`
    },
    refused: NO_CHANGE,
  },
  { of: 'forget_stale_remedies()', call: 'SELECT citus_ha.forget_stale_remedies()', refused: null },
  {
    of: 'intend(jsonb)',
    call: (about) => `SELECT citus_ha.intend(${intents(about)})`,
    refused: /no change is under way here/,
  },
  {
    of: 'forget_intents(integer[],text)',
    call: `SELECT citus_ha.forget_intents('{0,1,2}', NULL)`,
    refused: /of which run is not said/,
  },
  {
    of: 'take_over_intent(integer,text,text)',
    call: `SELECT citus_ha.take_over_intent(1, 'theirs', NULL)`,
    refused: /from which run, and for which, is not said/,
  },
  {
    of: 'pause_changes(integer,text,text)',
    call: `SELECT citus_ha.pause_changes(NULL, 'me', NULL)`,
    on: ['worker-1'],
    refused: /this server is no coordinator/,
  },
  {
    of: 'resume_changes(integer)',
    call: 'SELECT citus_ha.resume_changes(NULL)',
    on: ['worker-1'],
    refused: /this server is no coordinator/,
  },
]

/** Of one server: kept open over the tests, since nothing of it is to be ended by any. */
interface Witnesses {
  readonly admin: pg.Client
  /** Whom a function could end: a superuser, in a transaction, who looks like Citus from another node. */
  readonly victim: pg.Client
  /** The pid of a session of the role that waits for an advisory lock of his. */
  readonly waiter: number
}

describe('a function of the schema citus_ha, called outside of the situation that it is for', () => {
  let scenario: Scenario
  const open: pg.Client[] = []
  const witnesses = new Map<At, Witnesses>()
  const server = (name: string): Server => scenario.cluster.server(name)
  const address = (name: string) => ({ host: server(name).host, port: server(name).port })

  beforeAll(async () => {
    scenario = await Scenario.start({ coordinatorStandbys: [], workers: [{ standbys: [{}] }, {}] })
    await scenario.reconcile()
    for (const at of ['coordinator', 'worker-1'] as const) witnesses.set(at, await watch(at))
  })
  afterAll(async () => {
    await Promise.all(open.map((each) => each.end().catch(() => undefined)))
    await scenario?.stop()
  })

  async function session(at: At, user: string): Promise<pg.Client> {
    const connection = await server(at).connect({ database: scenario.cluster.database, user })
    open.push(connection)
    return connection
  }

  async function watch(at: At): Promise<Witnesses> {
    const admin = await session(at, 'postgres')
    const victim = await session(at, 'postgres')
    await victim.query(`SET application_name = 'citus_internal gpid=10000000001'`)
    await victim.query('BEGIN; SELECT pg_advisory_xact_lock(1), txid_current()')
    const role = await session(at, 'citus_ha')
    role.query('SELECT pg_advisory_lock(1)').catch(() => undefined)
    const waits = `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND NOT granted`
    const [row] = await waitUntil('it waits', async () => {
      const { rows } = await admin.query<{ pid: number }>(waits)
      return rows.length > 0 ? rows : undefined
    })
    return { admin, victim, waiter: row?.pid ?? 0 }
  }

  function of(at: At): Witnesses {
    const found = witnesses.get(at)
    if (!found) throw new Error(`nobody watches ${at}`)
    return found
  }

  /** Everything that the functions write, in one text. */
  async function state({ admin }: Witnesses): Promise<string> {
    const names = `SELECT c.oid::regclass::text AS name FROM pg_class c
      WHERE c.relkind = 'r' AND c.relnamespace = 'citus_ha'::regnamespace
      UNION ALL VALUES ('pg_dist_node'), ('pg_dist_local_group'), ('pg_dist_transaction') ORDER BY 1`
    const { rows: tables } = await admin.query<{ name: string }>(names)
    const parts = tables.map(({ name }) => `SELECT '${name}', jsonb_agg(t ORDER BY t::text) FROM ${name} t`)
    const { rows } = await admin.query(parts.join(' UNION ALL '))
    return JSON.stringify(rows)
  }

  it('has a line here', async () => {
    const { rows } = await of('coordinator').admin.query<{ of: string }>(
      `SELECT replace(p.oid::regprocedure::text, 'citus_ha.', '') AS of FROM pg_proc p
        WHERE p.pronamespace = 'citus_ha'::regnamespace AND has_function_privilege('citus_ha', p.oid, 'EXECUTE')`,
    )
    expect(new Set(GATES.map((gate) => gate.of))).toEqual(new Set(rows.map((row) => row.of)))
  })

  const cases = GATES.flatMap(({ on = ['coordinator', 'worker-1'], ...gate }) =>
    on.map((at) => ({ at, does: gate.refused ? 'is refused' : 'changes nothing', ...gate })),
  )
  it.each(cases)('$of $does on $at', async ({ at, call, refused }) => {
    const seen = of(at)
    const before = await state(seen)
    const sql = typeof call === 'string' ? call : call({ waiter: seen.waiter, address })
    const { database } = scenario.cluster
    const done = server(at).query(sql, [], { database, user: 'citus_ha' })
    if (refused === null) await done
    else
      await expect(done).rejects.toMatchObject({
        message: expect.stringMatching(refused),
        code: expect.stringMatching(/^HA00[45]$/),
      })
    expect(await state(seen)).toBe(before)
    expect((await seen.victim.query('SELECT 1 AS alive')).rows).toEqual([{ alive: 1 }])
  })
})
