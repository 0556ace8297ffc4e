import { type Claims, NO_CLAIMS } from '../../src/diagnose/facts.ts'
import type { Catalog, CatalogRow } from '../../src/model/catalog.ts'
import { formatAddress, type HostPort, parseAddress } from '../../src/model/node.ts'
import type {
  Answered,
  Installed,
  Lineage,
  Observation,
  Position,
  Survey,
  Testimony,
  TimelineSwitch,
  Unreachable,
  Unreadable,
  UnreadableCause,
  WalReceiver,
} from '../../src/model/observation.ts'
import type { Sight } from '../../src/model/sight.ts'
import { testify } from '../../src/model/testify.ts'
import type { PlanOptions } from '../../src/plan/options.ts'
import type { SwitchoverOrder } from '../../src/switchover/order.ts'
import type { Given } from '../../src/walk/look.ts'

/** System identifier of the group's servers: every group is a database system of its own. */
export const systemOf = (group: number): string => `70000000000000000${String(group).padStart(2, '0')}`

/** `w1a:5432`, or without a port for 5432. */
export function address(text: string): HostPort {
  const parsed = parseAddress(/:\d+$/.test(text) ? text : `${text}:5432`)
  if (!parsed) throw new Error(`${text} is no address`)
  return parsed
}

type RowParts = Partial<Omit<CatalogRow, 'address'>> & { readonly at: string }

/** A row of a primary. */
export function primaryRow(nodeid: number, group: number, parts: RowParts): CatalogRow {
  const { at, ...rest } = parts
  return {
    nodeid,
    group,
    address: address(at),
    rack: 'default',
    cluster: 'default',
    role: 'primary',
    isactive: true,
    hasmetadata: true,
    metadatasynced: true,
    shouldhaveshards: group !== 0,
    isclone: false,
    ...rest,
  }
}

/** A row of a secondary: Citus gives it neither metadata nor a sync of it. */
export function secondaryRow(nodeid: number, group: number, parts: RowParts): CatalogRow {
  return {
    ...primaryRow(nodeid, group, parts),
    role: 'secondary',
    hasmetadata: false,
    metadatasynced: false,
    ...withoutAt(parts),
  }
}

function withoutAt({ at: _, ...rest }: RowParts): Partial<CatalogRow> {
  return rest
}

/** The coordinator, and two workers with a standby each. */
export const TWO_WORKERS: Catalog = [
  primaryRow(1, 0, { at: 'cn1', hasmetadata: true }),
  primaryRow(2, 1, { at: 'w1a', rack: 'north' }),
  secondaryRow(3, 1, { at: 'w1b', rack: 'south' }),
  primaryRow(4, 2, { at: 'w2a', rack: 'north' }),
  secondaryRow(5, 2, { at: 'w2b', rack: 'south' }),
]

export function lineage(group: number, timeline = 1, ...history: readonly TimelineSwitch[]): Lineage {
  return { group, systemIdentifier: systemOf(group), timeline, history }
}

/** Of a server that wrote, a minute ago, unless it is said otherwise. */
export function position(at: string, lsn: bigint, parts: Partial<Position> = {}): Position {
  return { group: 1, address: address(at), inRecovery: false, timeline: 1, lsn, ageMs: 60_000, ...parts }
}

export const left = (timeline: number, lsn: string): TimelineSwitch => ({ timeline, lsn })

export const MIGRATION = 2

export function installed(parts: Partial<Installed> = {}): Installed {
  return {
    migration: MIGRATION,
    epoch: { timeline: 1, epoch: 0 },
    mayExecute: true,
    lineage: [],
    positions: [],
    remedies: [],
    keepsTransactions: false,
    pauses: [],
    intents: [],
    spareAddresses: [],
    drift: [],
    ...parts,
  }
}

interface NodeParts extends Partial<Omit<Answered, 'citus' | 'address'>> {
  readonly catalog?: Catalog
  readonly citus?: Partial<NonNullable<Answered['citus']>> | null
}

/** A server of the group that takes writes. */
export function writable(at: string, group: number, parts: NodeParts = {}): Answered {
  const { catalog, citus, ...rest } = parts
  const own = {
    version: '13.2-2',
    localGroup: group,
    catalog: catalog ?? TWO_WORKERS,
    useSecondaryNodes: 'never' as const,
    clusterName: 'default',
  }
  return {
    kind: 'answered',
    address: address(at),
    instance: at,
    serverVersion: 150_020,
    configured: '1.000000',
    inRecovery: false,
    readOnly: false,
    retired: false,
    systemIdentifier: systemOf(group),
    timeline: 1,
    // Only the first has none; of another it is unread unless it is given.
    history: (rest.timeline ?? 1) > 1 ? null : [],
    lsn: 0x40n,
    receivedLsn: null,
    lastCommit: null,
    receiver: null,
    senders: [],
    synchronousNames: '',
    citus: citus === null ? null : { ...own, ...citus },
    installed: installed(),
    untrusted: [],
    superuser: false,
    readsStatistics: true,
    prepared: [],
    lookalikes: [],
    oldestPreparedMs: null,
    databases: ['app'],
    citusDatabases: ['app'],
    encrypted: false,
    latencyMs: 1,
    ...rest,
  }
}

export function receiver(sender: string | null, parts: Partial<WalReceiver> = {}): WalReceiver {
  return {
    status: 'streaming',
    sender: sender === null ? null : address(sender),
    heardMsAgo: 20,
    timeline: 1,
    ...parts,
  }
}

/** A server of the group in recovery; `from` null: its WAL receiver is gone. */
export function standby(at: string, group: number, from: string | null, parts: NodeParts = {}): Answered {
  const timeline = parts.timeline ?? 1
  return writable(at, group, {
    inRecovery: true,
    receiver: from === null ? null : receiver(from, { timeline }),
    ...parts,
  })
}

export function silent(at: string, cause: Unreachable['cause'] = 'refused'): Unreachable {
  return { kind: 'unreachable', address: address(at), cause, detail: `connect ${at}` }
}

export function mute(at: string, cause: UnreadableCause): Unreadable {
  return { kind: 'unreadable', address: address(at), cause, detail: `says ${cause}` }
}

const SAW = { alive: 'reached', down: 'refused', unknown: 'no-report' } as const

export function testimony(
  witness: string,
  about: string,
  says: Testimony['says'],
  saw: Sight = SAW[says],
): Testimony {
  const asked = {
    witness: address(witness),
    about: address(about),
    how: 'citus_check_connection_to_node',
  } as const
  return testify(asked, saw, 'as asked')
}

/** The same observations with some in the place of others, by address; new ones last. */
export function observe(...nodes: readonly Observation[]): Observation[] {
  return [...new Map(nodes.map((node) => [formatAddress(node.address), node])).values()]
}

export function surveyOf(nodes: readonly Observation[], heard: readonly Testimony[] = []): Survey {
  return { database: 'app', at: '2026-01-01T00:00:00.000Z', nodes: observe(...nodes), testimony: heard }
}

export function vouching(at: string, group: number | null = null): Claims {
  return { ...NO_CLAIMS, vouched: address(at), vouchedGroup: group }
}

/** As `citus-ha event` passes on what a tool said. */
export function named(at: string, group: number | null = null): Claims {
  return { ...vouching(at, group), vouchedBy: 'tool' }
}

export function fileStandby(group: number, at: string): Claims {
  return { ...NO_CLAIMS, standbys: [{ group, address: address(at) }] }
}

/** What a caller adds to a survey. */
export function givenIn(parts: Partial<Given> = {}): Given {
  return { claims: NO_CLAIMS, seeds: [address('cn1')], cluster: 'c1', migration: MIGRATION, ...parts }
}

export const OPTIONS: PlanOptions = {
  groups: null,
  aliases: [],
  following: [],
  routing: { secondaryDown: 'auto', primaryDown: 'leave', readers: 'assumed', maxLag: 16 * 1024 * 1024 },
  register: [],
  ailing: [],
  migration: MIGRATION,
}

/** A switchover of group 1 as `citus-ha switchover --group 1 --yes` orders it. */
export function switchoverOrder(parts: Partial<SwitchoverOrder> = {}): SwitchoverOrder {
  return {
    groups: [1],
    host: null,
    to: null,
    promoteCommand: null,
    demoteCommand: null,
    demote: 'last',
    undoCommand: null,
    totalLimitMs: 10_000,
    maxLag: 1000,
    unreachable: 'refuse',
    slotLoss: 'refuse',
    mode: 'apply',
    confirm: async () => true,
    ...parts,
  }
}
