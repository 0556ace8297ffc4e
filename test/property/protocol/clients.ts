import { COORDINATOR_GROUP, primaryOf } from '../../../src/model/catalog.ts'
import { Backend } from './backend.ts'
import type { Event } from './clock.ts'
import { ServerError } from './copy.ts'
import type { Ledger } from './ledger.ts'
import type { Server } from './server.ts'
import type { World } from './world.ts'

/** How long a client, or Citus for it, waits for an answer, in milliseconds. */
const PATIENCE_MS = 3000
/** `citus.recover_2pc_interval`, much lower than anybody has it. */
const RECOVERY_MS = 2000

/** What keeps a client's transaction from its end. */
class Failed extends Error {}

/** A connection of somebody who is no citus-ha: of a client, or of Citus between two nodes. */
class Link {
  readonly backend: Backend
  readonly server: Server
  readonly #world: World
  readonly #from: string | null
  #gone = false
  #end: (() => void) | null = null

  private constructor(world: World, from: string | null, server: Server, client: Backend['client']) {
    this.#world = world
    this.#from = from
    this.server = server
    const application = client ? 'citus_internal gpid=1' : 'app'
    this.backend = new Backend(world, server, () => this.#lose(), application, client)
  }

  /** @throws Failed */
  static async open(
    world: World,
    from: string | null,
    to: string,
    client: Backend['client'] = null,
  ): Promise<Link> {
    await hop(world, from, to)
    const server = world.server(to)
    if (!server?.up) throw new Failed(`${to} is not up`)
    const link = new Link(world, from, server, client)
    await link.send(`SET lock_timeout = ${PATIENCE_MS}`)
    return link
  }

  #lose(): void {
    this.#gone = true
    this.#end?.()
  }

  /** @throws Failed, or the server's error */
  async send(sql: string): Promise<void> {
    await hop(this.#world, this.#from, this.server.name)
    if (this.#gone || this.backend.dead) throw new Failed('the connection is gone')
    let limit: Event | undefined
    const late = new Promise<never>((_, reject) => {
      limit = this.#world.clock.after(PATIENCE_MS, null, () => reject(new Failed('no answer')))
      this.#end = () => reject(new Failed('the connection broke'))
    })
    try {
      await Promise.race([this.backend.execute(sql), late])
    } finally {
      if (limit) limit.work = null
      this.#end = null
    }
    await hop(this.#world, this.server.name, this.#from)
  }

  close(): void {
    this.backend.hangUp()
  }
}

/** One way. @throws Failed where there is none */
function hop(world: World, from: string | null, to: string | null): Promise<void> {
  return new Promise((resolve, reject) => {
    world.clock.after(world.latency() / 4, null, () => {
      const there = from === null || to === null || world.connects(from, to)
      const up = [from, to].every((name) => name === null || world.server(name)?.up)
      if (there && up) resolve()
      else reject(new Failed(`no way from ${from} to ${to}`))
    })
  })
}

const thinking = (world: World, ms: number): Promise<void> =>
  new Promise((resolve) => {
    world.clock.after(ms, null, resolve)
  })

/** Clients, one transaction after the other each, and Citus's maintenance daemons; until the world is calm. */
export function setGoing(world: World, ledger: Ledger, clients: number): void {
  for (let n = 0; n < clients; n++) void forever(world, () => oneTransaction(world, ledger))
  for (const server of world.servers.values())
    void forever(world, async () => {
      await thinking(world, RECOVERY_MS * (0.5 + world.random()))
      await daemonsRound(world, server)
    })
}

async function forever(world: World, work: () => Promise<void>): Promise<void> {
  while (!world.calm) {
    try {
      await work()
    } catch (error) {
      if (!(error instanceof Failed) && !(error instanceof ServerError)) return world.fail(error)
      world.count(error instanceof ServerError ? `client: ${error.code}` : 'client: failed')
    }
    await thinking(world, 5 + world.random() * 60)
  }
}

/** What a client does at the node where it comes in, and Citus for it on the nodes that the rows there name. */
async function oneTransaction(world: World, ledger: Ledger): Promise<void> {
  const able = [...world.servers.values()].filter(({ up, inRecovery }) => up && !inRecovery)
  const entry = able[Math.floor(world.random() * able.length)]
  if (!entry) throw new Failed('nobody takes writes')
  const insists = world.random() < 0.1
  const link = await Link.open(world, null, entry.name)
  const others = new Map<string, Link>()
  const gids = new Map<string, string>()
  try {
    await link.send(insists ? 'BEGIN READ WRITE' : 'BEGIN')
    const { pid } = link.backend
    const at = async (group: number): Promise<Link> => {
      const row = primaryOf(link.backend.data.rows, group)
      if (!row) throw new Failed('no row')
      if (isCutOff(entry)) throw new Failed('cut off')
      const { host } = row.address
      if (host === entry.name) return link
      const open =
        others.get(host) ?? (await Link.open(world, entry.name, host, { node: `${entry.name}:5432`, pid }))
      if (!others.has(host)) {
        others.set(host, open)
        await open.send('BEGIN')
      }
      return open
    }
    const groups = world.random() < 0.6 ? [pick(world)] : [...new Set([pick(world), pick(world)])]
    // A transaction writes where it has read, whatever the rows say by then.
    const places = new Map<number, Link>()
    if (world.random() < 0.3) {
      for (const group of groups) {
        const place = await at(group)
        places.set(group, place)
        await place.send('app.read()')
      }
      await thinking(world, world.random() < 0.1 ? 1500 * world.random() : 40 * world.random())
    }
    const id = ledger.next()
    for (const group of groups) {
      await link.send(`app.plan(${group})`)
      const place = places.get(group) ?? (await at(group))
      places.set(group, place)
      await place.send(`app.write(${id})`)
    }
    if (world.random() < 0.2) await thinking(world, 100 * world.random())
    const parts = groups.map((group) => {
      const { name, timeline } = places.get(group)?.server ?? entry
      return { group, server: name, timeline, gid: null as string | null }
    })
    const { group, name: server, timeline } = entry
    const { overrides } = link.backend
    const remote = [...new Set(places.values())].filter((place) => place !== link)
    if (places.size > 0 && new Set(places.values()).size > 1) {
      for (const place of remote) {
        const gid = `citus_${groupIn(entry)}_${pid}_${world.clock.unique()}`
        gids.set(place.server.name, gid)
        entry.active.add(gid)
        await place.send(`PREPARE TRANSACTION '${gid}'`)
      }
      for (const part of parts) part.gid = gids.get(part.server) ?? null
      await link.send([...gids.values()].map((gid) => `app.record('${gid}')`).join('; '))
      await link.send('COMMIT')
      for (const place of remote)
        await place.send(`COMMIT PREPARED '${gids.get(place.server.name)}'`).catch(unlessFlaw)
    } else {
      for (const place of remote) await place.send('COMMIT')
      await link.send('COMMIT')
    }
    ledger.acknowledged({ id, parts, entry: { group, server, timeline }, overrides })
  } finally {
    for (const gid of gids.values()) entry.active.delete(gid)
    for (const each of [link, ...others.values()]) each.close()
  }

  function pick(given: World): number {
    return Math.floor(given.random() * given.groups.length)
  }
}

function unlessFlaw(error: unknown): void {
  if (!(error instanceof Failed) && !(error instanceof ServerError)) throw error
}

/** A round of Citus's maintenance daemon, unless its settings say otherwise. It ends with it where it was told to. */
async function daemonsRound(world: World, server: Server): Promise<void> {
  const { daemon, starts } = server
  if (!server.up || server.inRecovery || server.settings.get('citus.recover_2pc_interval') === '-1') return
  daemon.atWork = true
  try {
    await recoverTwoPhase(world, server, () => server.daemon !== daemon)
  } finally {
    daemon.atWork = false
    if (daemon.ending && server.daemon === daemon && server.starts === starts)
      server.daemon = { started: world.clock.now, atWork: false, ending: false }
  }
}

/** As Citus does it: what this group has prepared on other nodes, by this node's own records. */
export async function recoverTwoPhase(
  world: World,
  server: Server,
  isCancelled = () => false,
): Promise<void> {
  if (!server.up || server.inRecovery || isCutOff(server)) return
  const { starts, locks } = server
  const holder = { recovery: server.name }
  const group = groupIn(server)
  try {
    await locks.take('pg_dist_transaction', holder, 'shared', PATIENCE_MS, new Failed('no lock'))
    for (const row of server.visible.rows.filter(({ role }) => role === 'primary')) {
      const node = world.server(row.address.host)
      if (!node) continue
      const there = await hop(world, server.name, node.name).then(
        () => true,
        () => false,
      )
      if (!there || node.inRecovery) continue
      const begun = [...node.visible.prepared.keys()].filter((gid) => gid.startsWith(`citus_${group}_`))
      for (const gid of begun) {
        if (!server.up || server.starts !== starts || isCancelled()) return
        if (server.active.has(gid)) continue
        const how = server.visible.records.includes(gid) ? 'commit' : 'roll back'
        world.count(`Citus: ${how}`)
        await hop(world, server.name, node.name)
          .then(() => node.resolvePrepared(gid, how))
          .catch(unlessFlaw)
      }
    }
  } finally {
    if (server.starts === starts) locks.release(holder)
  }
}

/** Whether Citus there opens no connections: none to itself either. An old coordinator may have others that stream from it. */
const isCutOff = ({ group, visible }: Server): boolean => visible.retired && group !== COORDINATOR_GROUP

/** The group that Citus there says it is of. */
const groupIn = ({ group, visible }: Server): number => group + (visible.retired ? 1_000_000_000 : 0)
