import type { SessionLike } from '../../../src/db/pg.ts'
import type { Blocker } from '../../../src/model/blocker.ts'
import type { HostPort } from '../../../src/model/node.ts'
import type {
  Answered,
  Observation,
  Testimony,
  WalReceiver,
  WalSender,
} from '../../../src/model/observation.ts'
import { testify } from '../../../src/model/testify.ts'
import type { Prober } from '../../../src/observe/prober.ts'
import type { Access } from '../../../src/walk/access.ts'
import type { Owner } from './clock.ts'
import type { Seen } from './evidence.ts'
import { bytesAt, OURS, type Server } from './server.ts'
import { Session } from './session.ts'
import type { World } from './world.ts'

const PROBE_MS = 600
const BLOCKERS_MS = 1000
export const MIGRATION = 2

/** What becomes of one message, beside its delay. */
export interface Fate {
  readonly request: 'arrives' | 'is lost' | 'breaks the connection'
  readonly answer: 'arrives' | 'is lost' | 'breaks the connection'
  readonly requestLateMs: number
  readonly answerLateMs: number
}

/** One running citus-ha, with all its connections. */
export class Instance implements Owner, Access, Prober {
  state: Owner['state'] = 'running'
  readonly name: string
  readonly migration = MIGRATION
  readonly clientTexts = 'withheld'
  readonly sessions = new Set<Session>()
  /** When its last survey began: what was so ever since must have been seen. */
  surveyed = 0
  looking = false
  /** What that survey has seen. */
  readonly saw = new Map<string, Seen>()
  /** As in its claims. */
  readonly maxLag = 512
  /** How many walks are under way or still to come. */
  walks = 0
  vouched: string | null = null
  /** It switches over, and promotes by itself. */
  switches = false
  readonly #world: World

  constructor(world: World, name: string) {
    this.#world = world
    this.name = name
  }

  prober(): Prober {
    return this
  }

  /** Nobody is named here. Who is to be ended is. */
  async blockers(node: HostPort, _database: string, pid: number, what: 'ask' | 'end'): Promise<Blocker[]> {
    if (what === 'ask') return []
    const session = await this.open(node)
    try {
      await session.run(`SELECT citus_ha.end_blockers(${pid})`, BLOCKERS_MS)
      return []
    } finally {
      await session.close()
    }
  }

  async close(): Promise<void> {}

  /** The process ends; its machine closes its connections. */
  kill(): void {
    this.state = 'dead'
    for (const session of this.sessions) session.abandon()
  }

  /** Stopped for good, and its machine still holds its connections. */
  freeze(): void {
    this.state = 'dead'
  }

  async open(address: HostPort): Promise<SessionLike> {
    this.looking = false
    const session = new Session(this.#world, this, address)
    await session.connect()
    return session
  }

  async probe(address: HostPort): Promise<Observation> {
    if (!this.looking) {
      this.surveyed = this.#world.clock.now
      this.saw.clear()
    }
    this.looking = true
    const { request, answer, requestLateMs, answerLateMs } = this.#world.message('probe', this, address.host)
    const lateMs = requestLateMs + answerLateMs
    const lost = request !== 'arrives' || answer !== 'arrives' || lateMs > PROBE_MS
    if (lost) this.#world.missed(this.name, address.host)
    return await new Promise((resolve) => {
      const silent = (cause: 'refused' | 'timeout', afterMs: number) =>
        this.#world.clock.after(afterMs, this, () =>
          resolve({ kind: 'unreachable', address, cause, detail: 'simulated' }),
        )
      this.#world.clock.after(this.#world.latency() + (lost ? 0 : requestLateMs), null, () => {
        const server = this.#world.server(address.host)
        if (!server || lost || !this.#world.connects(this.name, address.host)) silent('timeout', PROBE_MS)
        else if (!server.up) silent('refused', this.#world.latency())
        else {
          const seen = observationOf(this.#world, server, address)
          this.#world.evidence.saw(server, this)
          this.#world.clock.after(this.#world.latency() + answerLateMs, this, () => resolve(seen))
        }
      })
    })
  }

  async held(): Promise<null> {
    return null
  }

  async ask(witness: HostPort, about: HostPort, control: HostPort): Promise<Testimony> {
    const given = { witness, about, how: 'citus_check_connection_to_node' } as const
    const world = this.#world
    const { request, answer } = world.message('probe', this, witness.host)
    const lost = request !== 'arrives' || answer !== 'arrives' || world.clock.now < world.mute
    return await new Promise((resolve) => {
      world.clock.after(world.latency(), null, () => {
        const from = world.server(witness.host)
        const asked = !lost && from?.up && world.connects(this.name, witness.host)
        const reaches = (to: HostPort) =>
          world.server(to.host)?.up === true && world.connects(witness.host, to.host)
        const silence = reaches(control) ? 'timeout' : 'cut-off'
        const saw = !asked ? 'no-report' : reaches(about) ? 'reached' : silence
        world.clock.after(asked ? world.latency() : PROBE_MS, this, () => resolve(testify(given, saw)))
      })
    })
  }
}

function observationOf(world: World, server: Server, address: HostPort): Answered {
  const { visible, inRecovery } = server
  return {
    kind: 'answered',
    address,
    instance: server.instance,
    serverVersion: 170_000,
    configured: '1.000000',
    inRecovery,
    readOnly: server.readOnly,
    retired: visible.retired,
    systemIdentifier: server.system,
    timeline: server.timeline,
    history: server.history,
    lsn: bytesAt(server.wal.length),
    receivedLsn: null,
    lastCommit: server.lastCommit,
    receiver: receiverOf(world, server),
    senders: sendersOf(world, server),
    synchronousNames: '',
    citus: {
      version: '13.2-2',
      localGroup: server.group,
      catalog: visible.rows,
      useSecondaryNodes: server.readsSecondaries ? 'always' : 'never',
      clusterName: 'default',
    },
    installed: {
      migration: MIGRATION,
      epoch: visible.epoch,
      mayExecute: true,
      lineage: visible.lineage,
      remedies: visible.remedies,
      positions: visible.positions
        .filter(({ group, timeline }) =>
          visible.lineage.some((line) => line.group === group && line.timeline === timeline),
        )
        .map(({ at, ...position }) => ({ ...position, ageMs: server.now - at })),
      keepsTransactions: false,
      pauses: [],
      intents: visible.intents,
      spareAddresses: visible.addresses,
      drift: [],
    },
    untrusted: [],
    superuser: false,
    readsStatistics: true,
    prepared: [...visible.prepared.keys()].filter((gid) => gid.startsWith(OURS)).sort(),
    lookalikes: [],
    oldestPreparedMs: null,
    databases: ['app'],
    citusDatabases: ['app'],
    encrypted: false,
    latencyMs: 1,
  }
}

/** Gone with its sender; on a route that is lost it looks as if it went on, and hears nothing. */
function receiverOf(world: World, server: Server): WalReceiver | null {
  const sender = server.upstream === null ? undefined : world.server(server.upstream)
  if (!server.inRecovery || !sender?.up) return null
  const cutAt = world.cutSince(server.name, sender.name)
  if (cutAt === null && !server.attachedTo()) return null
  return {
    status: 'streaming',
    sender: sender.address,
    heardMsAgo: cutAt === null ? 10 : world.clock.now - cutAt,
    timeline: server.timeline,
  }
}

function sendersOf(world: World, server: Server): WalSender[] {
  const attached = world.followers(server.name).filter((one) => one.attachedTo() === server)
  return attached.map((one) => ({
    applicationName: one.name,
    clientHost: one.name,
    state: 'streaming',
    syncState: 'async',
  }))
}
