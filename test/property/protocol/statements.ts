import { historyText } from '../../../src/apply/decision.ts'
import { primaryOf } from '../../../src/model/catalog.ts'
import { formatAddress, type HostPort, sameAddress } from '../../../src/model/node.ts'
import type { Lineage, Remedy } from '../../../src/model/observation.ts'
import type { Step } from '../../../src/model/plan.ts'
import { isStale } from '../../../src/model/remedy.ts'
import { readHistory } from '../../../src/observe/rows.ts'
import { take } from '../../../src/plan/simulate.ts'
import type { Backend } from './backend.ts'
import { CLIENTS } from './client-statements.ts'
import { type Change, type Data, isBefore, type Recorded, rawRow, ServerError, type Stamp } from './copy.ts'
import type { Lock } from './locks.ts'
import { OURS } from './server.ts'
import { intArray, json, numbers, strings, unknownStatement } from './sql.ts'
import { SWITCHOVER } from './switchover-statements.ts'

export type Rows = Readonly<Record<string, unknown>>[]

export type Handler = (backend: Backend, statement: string) => Rows | Promise<Rows>

// By how a statement begins. As sql/install/*.sql has them, on `Data` instead of tables.
const HANDLERS: readonly (readonly [string, Handler])[] = [
  ['SELECT citus_ha.take_change_lock(', (backend) => locked(backend, 'change')],
  ['SELECT citus_ha.lock_copy(', (backend, sql) => locked(backend, 'pg_dist_node', ...writesOf(sql))],
  ['SELECT citus_ha.fence(', (backend, sql) => locked(backend, ...writesOf(sql))],
  ['SELECT citus_ha.lock_shards(', (backend) => locked(backend, 'shards')],
  ['SELECT citus_ha.read_copy(', (backend) => [{ copy: readCopy(backend) }]],
  ['SELECT citus_ha.in_time(', inTime],
  ['SELECT citus_ha.rewrite(e.', rehearse],
  ['SELECT citus_ha.rewrite(', rewrite],
  ['SELECT citus_ha.decide(', decide],
  ['SELECT nodeid, groupid FROM citus_ha.forget_stale_remedies(', forgetStaleRemedies],
  ['SELECT citus_ha.record_lineage(', record],
  ['SELECT citus_ha.record_positions(', recordPositions],
  ['SELECT citus_ha.record_vouched(', recordVouched],
  ['SELECT a.pid FROM pg_locks', holders],
  ['SELECT p.gid FROM pg_prepared_xacts', listPrepared],
  ['SELECT g.gid FROM citus_ha.change', decidedGids],
  ['SELECT timeline FROM citus_ha.node_identity', ({ server }) => [{ timeline: server.timeline }]],
  ['SELECT FROM citus_ha.change', lookUp],
  ['SELECT pg_cancel_backend(', cancel],
  ['SELECT citus_ha.cancel_metadata_sync(', () => []],
  ['SELECT citus_ha.recover_citus_transactions(', () => [{ recover_citus_transactions: 0 }]],
  ['SELECT FROM pg_stat_activity a', () => [{}]],
  ['SELECT pg_catalog.set_config(', () => [{}]],
]

export async function answerTo(backend: Backend, statement: string): Promise<Rows> {
  const found = [...HANDLERS, ...SWITCHOVER, ...CLIENTS].find(([beginning]) =>
    statement.startsWith(beginning),
  )
  return found ? await found[1](backend, statement) : unknownStatement(statement)
}

async function locked(backend: Backend, ...locks: readonly Lock[]): Promise<Rows> {
  if (backend.server.inRecovery) throw new ServerError('25006', 'cannot acquire lock during recovery')
  for (const lock of locks) await backend.lock(lock)
  return [{}]
}

const writesOf = (statement: string): Lock[] =>
  intArray(strings(statement)[0]).map((group): Lock => `writes:${group}`)

function rehearse(backend: Backend): Rows {
  backend.requireWritable()
  return [{}]
}

function readCopy({ data, server }: Backend) {
  return {
    rows: data.rows.map(rawRow),
    epoch: data.epoch.epoch,
    epochTimeline: data.epoch.timeline,
    localGroup: server.group,
    systemIdentifier: server.system,
    inRecovery: server.inRecovery,
    timeline: server.timeline,
    history: server.history.map((entry) => `${entry.timeline}\t${entry.lsn}\tno reason`).join('\n'),
  }
}

function inTime({ ageMs }: Backend, statement: string): Rows {
  if (ageMs > (numbers(statement)[0] ?? 0)) throw new ServerError('HA002', 'too late for this change')
  return [{}]
}

/** Gone as well where somebody else than its target has taken over here, who is not held himself. */
function unlessOver({ server }: Backend, intents: Data['intents'], rows: Data['rows']): Data['intents'] {
  return unlessDone(intents, rows).filter(({ group, from }) => {
    if (group !== server.group || group === 0 || server.readOnlyInFile) return true
    const row = primaryOf(rows, group)
    return row && sameAddress(row.address, from)
  })
}

/** Gone with the change that makes the row of its target the primary's. */
function unlessDone(intents: Data['intents'], rows: Data['rows']): Data['intents'] {
  return intents.filter(({ group, to }) => {
    const row = primaryOf(rows, group)
    return !row || !sameAddress(row.address, to)
  })
}

function rewrite(backend: Backend, statement: string): Rows {
  const [timeline = 0, epoch = 0] = numbers(statement)
  const stamp: Stamp = { timeline, epoch }
  if (!isBefore(backend.data.epoch, stamp)) throw new ServerError('HA001', `newer than ${epoch} was here`)
  const steps = json<Step[]>(statement)
  const unsynced = intArray(strings(statement)[1])
  let data = backend.data
  for (const step of steps) data = taken(data, step)
  const { addresses } = data
  const synced = data.rows.filter((row) => row.metadatasynced).map((row) => row.nodeid)
  const rows = data.rows.map((row) => ({
    ...row,
    metadatasynced: synced.includes(row.nodeid) && !unsynced.includes(row.nodeid),
  }))
  // Under its lock nobody else writes these: what it will be is what it is now.
  backend.write((now) => {
    if (!isBefore(now.epoch, stamp)) throw new Error(`epoch ${epoch} is written over ${now.epoch.epoch}`)
    return { ...now, rows, epoch: stamp, addresses, intents: unlessOver(backend, now.intents, rows) }
  })
  return [{}]
}

function taken(data: Data, step: Step): Data {
  const row = data.rows.find((each) => each.nodeid === step.nodeid)
  if (!row) throw new ServerError('HA002', `node ${step.nodeid} is not in pg_dist_node`)
  let { addresses } = data
  if (step.op === 'move') {
    const known = [...data.rows, ...addresses].filter((each) => each.group === row.group)
    const parking = step.to.host === `citus-ha-moving-${row.nodeid}.invalid`
    if (!parking && !known.some((each) => sameAddress(lowered(each.address), lowered(step.to))))
      throw new ServerError('HA003', `group ${row.group} may not be given ${formatAddress(step.to)}`)
    if (!step.from.host.endsWith('.invalid'))
      addresses = [...addresses, { group: row.group, address: step.from }]
  }
  try {
    return { ...data, rows: take(data.rows, step), addresses }
  } catch (error) {
    throw new ServerError('HA002', String(error))
  }
}

/** As `citus_ha.canonical_host`. */
const lowered = ({ host, port }: HostPort): HostPort => ({ host: host.toLowerCase(), port })

interface Decision extends Change {
  readonly proofs: readonly RawProof[]
  readonly remedies: readonly Remedy[]
  readonly remediesEnded: readonly number[]
}
type RawProof = Omit<Lineage, 'history'> & { readonly history: string; readonly vouched?: boolean }

function decide(backend: Backend, statement: string): Rows {
  const { timeline, epoch, gids, after, proofs, madeBy, remedies, remediesEnded } = json<Decision>(statement)
  const over = [...remediesEnded, ...remedies.map(({ nodeid }) => nodeid)]
  if (backend.data.changes.some((each) => each.timeline === timeline && each.epoch === epoch))
    throw new ServerError('23505', 'duplicate key in citus_ha.change')
  const change = { timeline, epoch, gids, after, madeBy }
  backend.write((now) => ({
    ...now,
    changes: [...now.changes, change],
    ...set(backend, now, proofs, true),
    intents: unlessDone(now.intents, now.rows),
    remedies: [...now.remedies.filter(({ nodeid }) => !over.includes(nodeid)), ...remedies],
  }))
  return [{}]
}

function forgetStaleRemedies(backend: Backend): Rows {
  const { remedies, rows } = backend.data
  const stale = remedies.filter((remedy) => isStale(remedy, rows))
  backend.write((now) => ({
    ...now,
    remedies: now.remedies.filter(({ nodeid }) => !stale.some((each) => each.nodeid === nodeid)),
  }))
  return stale.map(({ nodeid, group }) => ({ nodeid, groupid: group }))
}

function record(backend: Backend, statement: string): Rows {
  const proofs = json<RawProof[]>(statement)
  backend.write((now) => ({ ...now, ...set(backend, now, proofs, false) }))
  return [{}]
}

function recordVouched(backend: Backend, statement: string): Rows {
  const proofs = json<RawProof[]>(statement)
  const madeBy = strings(statement).at(-1) ?? ''
  backend.write((now) => {
    const epoch = { timeline: backend.server.timeline, epoch: now.epoch.epoch + 1 }
    const change = { ...epoch, gids: [], after: now.rows, madeBy }
    const noted = { ...now, epoch, changes: [...now.changes, change] }
    return { ...noted, ...set(backend, noted, proofs, true) }
  })
  return [{}]
}

type RawPosition = RawProof & HostPort & { readonly inRecovery: boolean; readonly lsn: string }

function recordPositions(backend: Backend, statement: string): Rows {
  const seen = json<RawPosition[]>(statement)
  const at = backend.server.now
  backend.write((now) => {
    const news = seen.filter(({ group, timeline, history }) =>
      now.lineage.some(
        (line) => line.group === group && line.timeline === timeline && historyText(line) === history,
      ),
    )
    const read = news.map(({ group, timeline, history, host, port, inRecovery, lsn }) => {
      const row = { group, timeline, inRecovery, at, address: { host, port }, lsn: BigInt(lsn) }
      backend.world.evidence.wrotePosition(row, history)
      return row
    })
    const isSame = (a: Recorded, b: Recorded) => a.group === b.group && a.address.host === b.address.host
    const kept = now.positions.filter((old) => !read.some((one) => isSame(one, old) && one.lsn >= old.lsn))
    const further = read.filter((one) => !kept.some((old) => isSame(one, old)))
    return { ...now, positions: [...kept, ...further] }
  })
  return [{}]
}

/** `citus_ha.set_lineage` */
function set(
  { world }: Backend,
  { lineage, positions, epoch }: Data,
  proofs: readonly RawProof[],
  mayGoBack: boolean,
): Pick<Data, 'lineage' | 'positions' | 'epoch'> {
  const lines = new Map(lineage.map((line) => [line.group, line]))
  let kept = positions
  for (const proof of proofs) {
    const { group, systemIdentifier, timeline, history } = proof
    const known = lines.get(group)
    const text = (line: string) => (line === '' ? '' : `${line}\n`)
    const first = known && `${text(historyText(known))}${known.timeline}\t`
    const forward =
      first !== undefined && known?.systemIdentifier === systemIdentifier && history.startsWith(first)
    if (known && !mayGoBack && !proof.vouched && !forward) continue
    const line = { group, systemIdentifier, timeline, history: readHistory(history) }
    world.evidence.wroteLine(line, history)
    lines.set(group, line)
    kept = kept.filter((row) => row.group !== group)
  }
  const led = proofs.find(({ group, vouched }) => group === 0 && vouched)
  return {
    lineage: [...lines.values()].sort((a, b) => a.group - b.group),
    positions: kept,
    epoch: led && epoch.timeline > led.timeline ? { ...epoch, timeline: led.timeline } : epoch,
  }
}

function holders({ server }: Backend): Rows {
  const pids = [...server.backends].filter(([, backend]) => server.locks.holds('pg_dist_node', backend))
  return pids.map(([pid]) => ({ pid }))
}

function listPrepared({ data }: Backend): Rows {
  const ours = [...data.prepared.keys()].filter((gid) => gid.startsWith(OURS))
  return ours.sort().map((gid) => ({ gid }))
}

function decidedGids({ data }: Backend, statement: string): Rows {
  const asked = json<string[]>(statement)
  return data.changes.flatMap(({ gids }) => gids.filter((gid) => asked.includes(gid)).map((gid) => ({ gid })))
}

function lookUp({ data }: Backend, statement: string): Rows {
  const [timeline, epoch] = numbers(statement)
  const gids = strings(statement)[0]
  const found = data.changes.filter(
    (each) => each.timeline === timeline && each.epoch === epoch && JSON.stringify(each.gids) === gids,
  )
  return found.map(() => ({}))
}

function cancel({ server }: Backend, statement: string): Rows {
  server.backends.get(numbers(statement)[0] ?? 0)?.cancel?.()
  return [{}]
}
