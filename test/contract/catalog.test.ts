import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { has } from '../support/capabilities.ts'
import { backends, refusal, START_LIMIT_MS, World } from './world.ts'

const COLUMNS = [
  ['nodeid', 'integer', true, `nextval('pg_dist_node_nodeid_seq'::regclass)`],
  ['groupid', 'integer', true, `nextval('pg_dist_groupid_seq'::regclass)`],
  ['nodename', 'text', true, null],
  ['nodeport', 'integer', true, '5432'],
  ['noderack', 'text', true, `'default'::text`],
  ['hasmetadata', 'boolean', true, 'false'],
  ['isactive', 'boolean', true, 'true'],
  ['noderole', 'noderole', true, `'primary'::noderole`],
  ['nodecluster', 'name', true, `'default'::name`],
  ['metadatasynced', 'boolean', false, 'false'],
  ['shouldhaveshards', 'boolean', true, 'true'],
] as const

/** What came with Citus 13.2. */
const CLONE_COLUMNS = [
  ['nodeisclone', 'boolean', true, 'false'],
  ['nodeprimarynodeid', 'integer', true, '0'],
] as const

const NODE_ARGUMENTS =
  `nodename text, nodeport integer, groupid integer DEFAULT '-1'::integer, ` +
  `noderole noderole DEFAULT 'primary'::noderole, nodecluster name DEFAULT 'default'::name`
const MOVE_ARGUMENTS =
  'node_id integer, new_node_name text, new_node_port integer, ' +
  'force boolean DEFAULT false, lock_cooldown integer DEFAULT 10000'

// name, arguments, result, may everybody call it
const FUNCTIONS = [
  ['citus_activate_node', 'nodename text, nodeport integer', 'integer', false],
  ['citus_add_node', NODE_ARGUMENTS, 'integer', false],
  [
    'citus_add_secondary_node',
    `nodename text, nodeport integer, primaryname text, primaryport integer, nodecluster name DEFAULT 'default'::name`,
    'integer',
    false,
  ],
  [
    'citus_check_cluster_node_health',
    'OUT from_nodename text, OUT from_nodeport integer, OUT to_nodename text, OUT to_nodeport integer, OUT result boolean',
    'record',
    true,
  ],
  ['citus_check_connection_to_node', 'nodename text, nodeport integer DEFAULT 5432', 'boolean', true],
  ['citus_coordinator_nodeid', '', 'integer', true],
  ['citus_disable_node', 'nodename text, nodeport integer, synchronous boolean DEFAULT false', 'void', false],
  ['citus_is_coordinator', '', 'boolean', true],
  ['citus_nodename_for_nodeid', 'nodeid integer', 'text', true],
  ['citus_nodeport_for_nodeid', 'nodeid integer', 'integer', true],
  [
    'citus_pause_node_within_txn',
    'node_id integer, force boolean DEFAULT false, lock_cooldown integer DEFAULT 10000',
    'void',
    false,
  ],
  ['citus_remove_node', 'nodename text, nodeport integer', 'void', false],
  [
    'citus_set_coordinator_host',
    `host text, port integer DEFAULT (current_setting('port'::text))::integer, ` +
      `node_role noderole DEFAULT 'primary'::noderole, node_cluster name DEFAULT 'default'::name`,
    'void',
    false,
  ],
  ['citus_update_node', MOVE_ARGUMENTS, 'void', false],
  ['citus_version', '', 'text', true],
  ['lock_shard_metadata', 'lock_mode integer, shard_id bigint[]', 'void', true],
  ['master_update_node', MOVE_ARGUMENTS, 'void', false],
  ['recover_prepared_transactions', '', 'integer', false],
  [
    'stop_metadata_sync_to_node',
    'nodename text, nodeport integer, clear_metadata boolean DEFAULT true',
    'void',
    false,
  ],
] as const

describe.each(backends)('the catalog of $name', (backend) => {
  let world: World
  beforeAll(async () => {
    world = await World.start(backend)
    for (const server of world.cluster.servers) {
      await server.query(
        `set citus.enable_ddl_propagation = off; drop role if exists bare; create role bare login`,
      )
    }
  }, START_LIMIT_MS)
  afterEach(() => world.tidy())
  afterAll(() => world?.cluster.stop())

  const secondary = (port: number, cluster = 'default') =>
    world.coordinator.query(`select citus_add_secondary_node('127.0.0.1', $1, '127.0.0.1', $2, $3)`, [
      port,
      world.worker(1).port,
      cluster,
    ])

  it('has its columns, and those of Citus 13.2 both or not at all', async () => {
    const columns = await world.coordinator.query<{
      name: string
      type: string
      required: boolean
      value: string | null
    }>(
      `select a.attname as name, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as required,
              pg_get_expr(d.adbin, d.adrelid) as value
         from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attrelid = 'pg_catalog.pg_dist_node'::regclass and a.attnum > 0 order by a.attnum`,
    )
    expect(columns.map(({ name, type, required, value }) => [name, type, required, value])).toEqual([
      ...COLUMNS,
      ...((await has(world.coordinator, 'clones')) ? CLONE_COLUMNS : []),
    ])
  })

  it('has the functions that are called, with their arguments, results and rights', async () => {
    const functions = await world.coordinator.query<
      Record<'name' | 'arguments' | 'result', string> & { everybody: boolean }
    >(
      `select p.proname as name, pg_get_function_arguments(p.oid) as arguments, p.prorettype::regtype::text as result,
              has_function_privilege('bare', p.oid, 'execute') as everybody
         from pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace and p.proname = any ($1) order by 1`,
      [FUNCTIONS.map(([name]) => name)],
    )
    const found = functions.map(({ name, arguments: args, result, everybody }) => [
      name,
      args,
      result,
      everybody,
    ])
    const pauses = await has(world.coordinator, 'pause')
    expect(found).toEqual(FUNCTIONS.filter(([name]) => pauses || name !== 'citus_pause_node_within_txn'))
  })

  it('says what it is', async () => {
    const [row] = await world.coordinator.query<{ version: string }>('select citus_version() as version')
    expect(row?.version).toMatch(world.isCitus ? /^Citus \d/ : /^Citus stand-in 13\.2/)
  })

  it('gives each copy its own group and the same rows', async () => {
    const groups = await Promise.all(
      [world.coordinator, world.worker(1), world.worker(2)].map((server) =>
        server.query('select groupid from pg_dist_local_group'),
      ),
    )
    expect(groups).toEqual([[{ groupid: 0 }], [{ groupid: 1 }], [{ groupid: 2 }]])
    expect(await world.areCopiesEqual()).toBe(true)
  })

  it('checks at once that an address is unique, so that one statement cannot swap two', async () => {
    const [one, two] = [world.primaryId(1), world.primaryId(2)]
    const swap = world.coordinator.query(
      `update pg_dist_node n set nodeport = o.nodeport from pg_dist_node o
        where (n.nodeid, o.nodeid) in ((${one}, ${two}), (${two}, ${one}))`,
    )
    expect(await refusal(swap)).toMatchObject({
      code: '23505',
      constraint: 'pg_dist_node_nodename_nodeport_key',
    })
  })

  it('takes the same host under another name for another address', async () => {
    await world.coordinator.query(`select citus_add_secondary_node('LOCALHOST', $1, '127.0.0.1', $1)`, [
      world.worker(1).port,
    ])
    expect(await world.rows()).toHaveLength(4)
  })

  it('keeps primaries in the default cluster', async () => {
    const moved = world.coordinator.query(
      `update pg_dist_node set nodecluster = 'second' where nodeid = ${world.primaryId(1)}`,
    )
    expect(await refusal(moved)).toMatchObject({
      code: '23514',
      constraint: 'primaries_are_only_allowed_in_the_default_cluster',
    })
  })

  it('allows one primary a group: demote first, promote second', async () => {
    await secondary(1)
    const change = await world.open(world.coordinator)
    const set = (role: string, where: string) =>
      change.query(`update pg_dist_node set noderole = '${role}' where groupid = 1 and ${where}`)
    expect(await refusal(set('primary', 'nodeport = 1'))).toMatchObject({
      code: 'P0001',
      message: 'there cannot be two primary nodes in a group',
    })
    await change.query('begin')
    await set('secondary', 'nodeport <> 1')
    expect((await set('primary', 'nodeport = 1')).rowCount).toBe(1)
  })

  it('registers a secondary in its group, without metadata, on every copy at once', async () => {
    await secondary(1, 'second')
    expect((await world.rows()).at(-1)).toMatchObject({
      groupid: 1,
      noderole: 'secondary',
      nodecluster: 'second',
      hasmetadata: false,
      metadatasynced: false,
      isactive: true,
      shouldhaveshards: true,
    })
    expect(await world.areCopiesEqual()).toBe(true)
  })

  it('lets everybody read the rows and only a superuser write them', async () => {
    const bare = await world.open(world.coordinator, { user: 'bare' })
    expect((await bare.query('select from pg_dist_node')).rowCount).toBe(3)
    for (const statement of [
      'update pg_dist_node set nodeport = 1',
      'delete from pg_dist_node',
      'update pg_dist_local_group set groupid = 7',
      `select citus_update_node(1, 'x', 1)`,
      ...((await has(world.coordinator, 'pause')) ? ['select citus_pause_node_within_txn(1)'] : []),
    ]) {
      expect((await refusal(bare.query(statement))).code, statement).toBe('42501')
    }
  })

  it.each([
    ['a known address gives its nodeid', 'select citus_add_node($1, $2) as id', null],
    ['a second primary', `select citus_add_node('x', 1, 1)`, /^XX000 group 1 already has a primary node/],
    [
      'a primary of another cluster',
      `select citus_add_node('x', 1, 9, 'primary', 'b')`,
      /^XX000 primaries must be/,
    ],
    [
      'nobody there',
      `select citus_add_node('127.0.0.1', 1)`,
      /^08006 connection to the remote node .* failed/,
    ],
    [
      'a secondary of nobody',
      `select citus_add_secondary_node('x', 1, 'y', 1)`,
      /^XX000 node at "y:1" does not exist/,
    ],
    ['removing nobody', `select citus_remove_node('x', 1)`, /^XX000 node at "x:1" does not exist/],
    [
      'removing the only placement',
      'select citus_remove_node($1, $2)',
      /^XX000 cannot remove or disable the node/,
    ],
  ])('adding and removing: %s', async (_, sql, expected) => {
    const { host, port } = world.worker(1)
    const result = world.coordinator.query(sql, sql.includes('$1') ? [host, port] : [])
    if (expected === null) expect(await result).toEqual([{ id: world.primaryId(1) }])
    else {
      const { code, message } = await refusal(result)
      expect(`${code} ${message}`).toMatch(expected)
    }
  })

  it('adds and removes nodes on the coordinator only', async () => {
    for (const sql of [
      `select citus_add_node('x', 1)`,
      `select citus_add_secondary_node('x', 1, $1, $2)`,
      'select citus_remove_node($1, $2)',
    ]) {
      const { host, port } = world.worker(2)
      const { code, message } = await refusal(
        world.worker(1).query(sql, sql.includes('$1') ? [host, port] : []),
      )
      expect(`${code} ${message}`, sql).toBe('XX000 operation is not allowed on this node')
    }
  })

  it('knows the coordinator', async () => {
    const ask = 'select citus_is_coordinator() as here, citus_coordinator_nodeid() as id'
    expect(await world.coordinator.query(ask)).toEqual([{ here: true, id: world.primaryId(0) }])
    expect(await world.worker(1).query(ask)).toEqual([{ here: false, id: world.primaryId(0) }])
  })
})
