import type { Intent } from '../../../src/model/intent.ts'
import { sameAddress } from '../../../src/model/node.ts'
import type { SeenServer } from '../../../src/model/servers.ts'
import type { Backend } from './backend.ts'
import { rawRow, ServerError } from './copy.ts'
import { lsnAt, positionOf, type Server } from './server.ts'
import { intArray, json, numbers, strings } from './sql.ts'
import type { Handler, Rows } from './statements.ts'

/** What a switchover, and whoever undoes one or carries it on, says beyond what a change does. */
export const SWITCHOVER: readonly (readonly [string, Handler])[] = [
  ["SELECT has_function_privilege('pg_promote", target],
  [
    "SELECT has_function_privilege('pg_reload_conf",
    ({ server }) => [
      { may_reload: true, recovers: recovers(server), has_parameter_privileges: true, superuser: false },
    ],
  ],
  ['SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object(', () => [{ busy: [] }]],
  ["SELECT current_setting('citus.max_cached", () => [{ lifetime: '10min', recent: false }]],
  ['SELECT count(shard::text) FROM citus_ha.own_shards()', () => [{ count: '1' }]],
  ['SELECT clock_timestamp()::text AS now', ({ world }) => [{ now: String(world.clock.now) }]],
  // Of one database alone: nobody is in another, and nobody calls himself READ WRITE.
  ["SELECT (SELECT coalesce(jsonb_agg(jsonb_build_object('role'", nobodyElse],
  ['SELECT citus_ha.open_transactions(', (backend, sql) => named(open(backend, sql).map(told(backend)))],
  ['SELECT citus_ha.end_open_transactions(', (backend, sql) => named(ended(backend, open(backend, sql)))],
  ['SELECT citus_ha.held_transactions(', (backend) => named(held(backend).map(told(backend)))],
  ['SELECT citus_ha.end_held_transactions(', (backend) => named(ended(backend, held(backend)))],
  ['SELECT citus_ha.other_sessions(', (backend, sql) => named(clients(backend, sql).map(told(backend)))],
  ['SELECT citus_ha.end_other_sessions(', (backend, sql) => named(ended(backend, clients(backend, sql)))],
  ['SELECT citus_ha.writing_sessions(', () => named([])],
  ['SELECT citus_ha.end_writing_sessions(', () => named([])],
  ['SELECT current_user::text', sound],
  ['SELECT (extract(epoch FROM clock_timestamp())', ({ world }) => [{ ms: world.clock.now }]],
  ['SELECT (SELECT count(*)::int FROM pg_prepared_xacts)', () => [{ in_use: 0, transactions: [] }]],
  [
    "SELECT pg_catalog.current_setting('max_prepared_transactions')",
    ({ data }) => [{ free: 100 - data.prepared.size }],
  ],
  [
    "SELECT (SELECT coalesce(jsonb_agg(jsonb_build_object('application_name'",
    () => [{ standbys: [], managers: [] }],
  ],
  [
    "SELECT coalesce(jsonb_agg(jsonb_build_object(\n                  'name', a.application_name",
    () => [{ daemons: [] }],
  ],
  [
    "SELECT coalesce(jsonb_agg(jsonb_build_object(\n                  'name', s.slot_name",
    () => [{ slots: [] }],
  ],
  ['SELECT coalesce(jsonb_agg(f.signature', () => [{ missing: [] }]],
  ['SELECT coalesce(jsonb_agg(n.need', () => [{ granted: ['all of it'], missing: [] }]],
  ['SELECT citus_ha.end_citus_backends(', endCitus],
  ['SELECT citus_ha.end_clients(', endClients],
  ['SELECT citus_ha.blockers(', (backend, sql) => [{ blockers: blockers(backend, sql).map(told(backend)) }]],
  ['SELECT citus_ha.end_blockers(', endBlockers],
  ['SELECT citus_ha.intend(', intend],
  ['SELECT citus_ha.forget_intents(', forget],
  ['SELECT citus_ha.take_over_intent(', takeOver],
  ['ALTER SYSTEM SET ', alter],
  ['ALTER SYSTEM RESET ', alter],
  [
    'SELECT s.name, has_parameter_privilege(',
    () => Object.keys(HELD).map((name) => ({ name, may_alter: true })),
  ],
  ['SELECT s.name, s.setting, k.settings', heldSettings],
  ['SELECT ARRAY[current_setting(', inEffect],
  ["SELECT concat_ws('/', (SELECT c.system_identifier", state],
  ["SELECT concat_ws('/', c.system_identifier", which],
  ['SELECT citus_ha.end_maintenance_daemons() AS left', endDaemons],
  ['SELECT citus_ha.cancel_maintenance_daemons()', cancelDaemons],
  ['SELECT citus_ha.hold_recovery() AS held', holdRecovery],
  ['SELECT citus_ha.retire(', retire],
  ['SELECT pg_reload_conf()', reload],
  ['SELECT pg_is_in_recovery() AS standby', ({ server }) => [{ standby: server.inRecovery }]],
  ['SELECT pg_logical_emit_message(', emit],
  ['SELECT txid_current_snapshot()', () => [{ snapshot: '1:1:' }]],
  ['SELECT txid_current()', () => [{ own: '1' }]],
  ['SELECT count(*)::int AS late', () => [{ late: 0 }]],
  ['SELECT pg_current_wal_flush_lsn()::text AS lsn', ({ server }) => [{ lsn: lsnAt(server.wal.length) }]],
  ['SELECT pg_last_wal_replay_lsn() >= ', replayed],
  ['SELECT pg_promote(false)', promote],
  ['SELECT NOT EXISTS (SELECT FROM pg_stat_get_wal_receiver()', receivedAll],
  ['SELECT d.xact_rollback::float8', () => [{ rolled_back: 0 }]],
]

/** Under every name by which somebody asks for it. */
const named = (found: Rows): Rows => [{ found, open: found, held: found, ended: found }]

function nobodyElse(): Rows {
  return [{ overriding: [], subscriptions: [], prepared: [], closed: [], unlogged: [] }]
}

/** The settings of a session, as doctor looks at them. */
function sound({ server }: Backend): Rows {
  const settings = {
    max_prepared_transactions: { value: '100', source: 'configuration file' },
    default_transaction_read_only: { value: server.readOnly ? 'on' : 'off', source: 'configuration file' },
  }
  return [{ role: 'citus_ha', extension: '13.2-1', has_pools: false, settings }]
}

function target({ server }: Backend): Rows {
  return [
    {
      may_promote: true,
      recovers: recovers(server),
      apply_delay: '0',
      is_standby: server.inRecovery,
      replay_paused: false,
    },
  ]
}

/** All of them, where the database is not among those that are spared. */
function clients({ server, pid }: Backend, statement: string): Backend[] {
  if (json<string[]>(statement).length > 0) return []
  return [...server.backends.values()].filter((one) => one.pid !== pid && one.application !== 'citus-ha')
}

const recovers = ({ settings }: Server): boolean => settings.get('citus.recover_2pc_interval') !== '-1'

/** Everybody's transactions but our own. */
function transactions({ server, pid }: Backend): Backend[] {
  const others = [...server.backends.values()].filter(
    (one) => one.pid !== pid && one.application !== 'citus-ha' && one.openSince !== null,
  )
  return others
}

function isHeld({ server }: Backend, one: Backend): boolean {
  const seen = new Set<object>()
  const next: object[] = [one]
  for (let holder = next.pop(); holder; holder = next.pop()) {
    for (const blocker of server.locks.blockersOf(holder)) {
      if (seen.has(blocker)) continue
      seen.add(blocker)
      next.push(blocker)
    }
  }
  return [...server.backends.values()].some((each) => each.application === 'citus-ha' && seen.has(each))
}

function open(backend: Backend, statement: string): Backend[] {
  const since = Number(strings(statement)[0] ?? Number.POSITIVE_INFINITY)
  return transactions(backend).filter((one) => (one.openSince ?? 0) < since && !isHeld(backend, one))
}

function held(backend: Backend): Backend[] {
  return transactions(backend).filter((one) => isHeld(backend, one))
}

function blockers(backend: Backend, statement: string): Backend[] {
  const { server } = backend
  const waiting = server.backends.get(numbers(statement)[0] ?? 0)
  const all = waiting ? server.locks.blockersOf(waiting) : []
  return [...server.backends.values()].filter((one) => all.includes(one))
}

const told =
  ({ world }: Backend) =>
  ({ pid, application, client, openSince }: Backend) => ({
    pid,
    user: 'app',
    application,
    state: 'active',
    ageMs: world.clock.now - (openSince ?? world.clock.now),
    statement: 'simulated',
    client,
    ours: application === 'citus-ha',
  })

function ended(backend: Backend, whom: readonly Backend[]) {
  const rows = whom.map(told(backend))
  for (const one of whom) one.terminate()
  return rows
}

function endCitus({ server, pid }: Backend): Rows {
  const whom = [...server.backends.values()].filter((one) => one.pid !== pid && one.client !== null)
  for (const one of whom) one.terminate()
  return [{ end_citus_backends: whom.length }]
}

function endClients({ server, pid }: Backend): Rows {
  const whom = [...server.backends.values()].filter(
    (one) => one.pid !== pid && one.application !== 'citus-ha',
  )
  for (const one of whom) one.terminate()
  return [{ end_clients: whom.length }]
}

/** Never another change. */
function endBlockers(backend: Backend, statement: string): Rows {
  const whom = blockers(backend, statement).filter(({ application }) => application !== 'citus-ha')
  backend.world.count('ended in the way')
  return named(ended(backend, whom))
}

function intend(backend: Backend, statement: string): Rows {
  const said = json<Intent[]>(statement)
  const known = [...backend.data.rows, ...backend.data.addresses]
  for (const { group, from, to } of said)
    for (const address of [from, to])
      if (!known.some((each) => each.group === group && sameAddress(each.address, address)))
        throw new ServerError('HA003', `group ${group} may not be given the address ${address.host}`)
  const groups = said.map(({ group }) => group)
  const { server } = backend
  const isOthers = ({ group, run }: Intent) => said.some((each) => each.group === group && each.run !== run)
  if (backend.data.intents.some(isOthers))
    throw new ServerError('HA002', 'another switchover has left something behind')
  const noted = said.map((intent) => {
    const before = backend.data.intents.find(({ group }) => group === intent.group)?.settings
    const own = intent.group === server.group ? { settings: Object.fromEntries(server.file) } : {}
    return { ...intent, ...own, ...(before ? { settings: before } : {}) }
  })
  backend.write((now) => ({
    ...now,
    intents: [...now.intents.filter(({ group }) => !groups.includes(group)), ...noted],
  }))
  return [{}]
}

function forget(backend: Backend, statement: string): Rows {
  const [list, of] = strings(statement)
  const groups = intArray(list)
  backend.requireWritable()
  if (groups.length === 0) return [{}]
  const isOver = ({ group, run }: Intent) => groups.includes(group) && (of === undefined || run === of)
  backend.write((now) => ({ ...now, intents: now.intents.filter((intent) => !isOver(intent)) }))
  return [{}]
}

function takeOver(backend: Backend, statement: string): Rows {
  const [group] = numbers(statement)
  const [of, by = ''] = strings(statement)
  backend.requireWritable()
  const isMeant = (intent: Intent) =>
    intent.group === group && intent.run === of && intent.phase === 'promoting'
  const taken = backend.data.intents.some(isMeant)
  // Under the lock of its row: whoever comes second finds it otherwise.
  if (taken)
    backend.write((now) => ({
      ...now,
      intents: now.intents.map((intent) => (isMeant(intent) ? { ...intent, run: by } : intent)),
    }))
  return [{ taken }]
}

/** What a switchover sets, and what it is where nobody has. */
const HELD: Readonly<Record<string, string>> = {
  'citus.background_task_queue_interval': '5000',
  'citus.defer_shard_delete_interval': '15000',
  'citus.recover_2pc_interval': '60000',
  default_transaction_read_only: 'off',
}

function alter({ server }: Backend, statement: string): Rows {
  const [, verb, quoted = ''] = /^ALTER SYSTEM (SET|RESET) (\S+)/.exec(statement) ?? []
  const name = quoted.replaceAll('"', '')
  if (!(name in HELD)) throw new Error(`nobody is to alter ${name}`)
  const file = new Map(server.file)
  if (verb === 'SET') file.set(name, strings(statement)[0] ?? '')
  else file.delete(name)
  server.file = file
  return []
}

function heldSettings({ server, data }: Backend): Rows {
  const known = data.intents.find((intent) => intent.settings !== undefined)
  return Object.entries(HELD).map(([name, value]) => {
    const noted = { settings: known?.settings ?? null, groupid: known?.group ?? null }
    return { name, setting: server.settings.get(name) ?? value, ...noted }
  })
}

function inEffect({ server, world }: Backend, statement: string): Rows {
  const now = strings(statement).map((name) => server.settings.get(name) ?? HELD[name] ?? null)
  return [{ now, at: String(world.clock.now) }]
}

/** What was checked, asked again: as a survey would see it. */
function state({ server }: Backend): Rows {
  const { visible, instance, group } = server
  const intents = visible.intents.map(
    ({ group: groupid, from, to, phase, byCommand, stopped, madeBy, run }) => ({
      ...{ groupid, phase, by_command: byCommand, stopped, made_by: madeBy, run },
      ...{ from_host: from.host, from_port: from.port, to_host: to.host, to_port: to.port },
    }),
  )
  const role = { in_recovery: server.inRecovery, read_only: server.readOnly }
  const local = { local_group: group + (visible.retired ? 1_000_000_000 : 0) }
  return [{ instance, ...role, ...local, rows: visible.rows.map(rawRow), intents }]
}

function which({ server }: Backend): Rows {
  const { instance, system, inRecovery, timeline } = server
  return [
    { instance, system_identifier: system, in_recovery: inRecovery, timeline: inRecovery ? null : timeline },
  ]
}

/** Those that began before the settings that are in effect now; one that is at work ends with its round. */
function endDaemons({ server, world }: Backend): Rows {
  if (server.settings.get('citus.recover_2pc_interval') !== '-1')
    throw new ServerError('HA004', 'citus.recover_2pc_interval is not -1')
  const { daemon } = server
  if (daemon.started >= server.loaded) return [{ left: 0 }]
  if (daemon.atWork) daemon.ending = true
  else server.daemon = { started: world.clock.now, atWork: false, ending: false }
  return [{ left: 1 }]
}

/** Whatever it waits for: what it has done on other nodes stays. */
function cancelDaemons({ server, world }: Backend): Rows {
  if (server.daemon.started < server.loaded)
    server.daemon = { started: world.clock.now, atWork: false, ending: false }
  return []
}

async function holdRecovery(backend: Backend): Promise<Rows> {
  const late = (error: unknown) => {
    if (error instanceof ServerError && error.code === '55P03') return false
    throw error
  }
  return [{ held: await backend.lock('pg_dist_transaction').then(() => true, late) }]
}

function retire(backend: Backend, statement: string): Rows {
  const { group, seen } = json<{ group: number; seen: SeenServer }>(statement)
  const { timeline, epoch } = seen
  const isOther =
    (timeline !== null && timeline !== backend.server.timeline) ||
    (epoch !== undefined && JSON.stringify(epoch) !== JSON.stringify(backend.data.epoch))
  if (isOther) throw new ServerError('HA002', 'this is not the server that was seen')
  if (group !== backend.server.group) throw new ServerError('HA002', `this server is not of group ${group}`)
  backend.write((now) => ({ ...now, retired: true }))
  return [{}]
}

function reload({ server, world }: Backend): Rows {
  server.reload(world.lag() / 40)
  return [{ pg_reload_conf: true }]
}

function emit(backend: Backend): Rows {
  if (backend.server.inRecovery) throw new ServerError('55000', 'recovery is in progress')
  // It writes in a read-only transaction as well.
  void backend.server.write([], 'message', false)
  return [{}]
}

function replayed({ server }: Backend, statement: string): Rows {
  const wanted = positionOf(strings(statement)[0] ?? '')
  return [{ there: server.inRecovery ? server.wal.length >= wanted : null }]
}

/** Of a sender that has stopped: what it has sent is replayed in the same moment. */
function receivedAll({ server }: Backend): Rows {
  const lsn = lsnAt(server.wal.length)
  return [{ there: server.inRecovery ? server.attachedTo() === null : null, lsn }]
}

function promote({ server, world }: Backend): Rows {
  if (!server.inRecovery) throw new ServerError('55000', 'recovery is not in progress')
  server.askToPromote(5 * world.lag())
  return [{ pg_promote: true }]
}
