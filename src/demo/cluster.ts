import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { reachableBinaries, serverAccount } from './account.ts'
import { type Backend, describeBackend, identifyBackend, MaintenanceDaemon } from './backend.ts'
import { type Binaries, findBinaries } from './binaries.ts'
import {
  copyStandby,
  createDatabases,
  createGroup,
  makeDirectory,
  newServer,
  type Placed,
  type Site,
} from './build.ts'
import { guard, type Release } from './guard.ts'
import { PortPool } from './ports.ts'
import { registerNodes, registerSecondary } from './register.ts'
import { type Member, settle, stopInOrder, waitForReplay } from './replication.ts'
import type { Server } from './server.ts'
import { removeSharedMemory } from './shared-memory.ts'
import { type Saved, takeAll } from './snapshot.ts'
import { type ClusterSpec, planServers, type StandbySpec } from './topology.ts'
import { all } from './wait.ts'

export { stopAllClusters } from './guard.ts'
export type { ClusterSpec, StandbySpec } from './topology.ts'

/** A worker group as it was built: a promotion does not change who is called what here. */
export interface Worker {
  readonly group: number
  readonly primary: Server
  readonly standbys: readonly Server[]
}

/**
 * Starts a Citus cluster of local servers with streaming replication, and waits until every standby has
 * replayed the node metadata.
 * @throws Error when no PostgreSQL was found or a step failed; nothing is left running then.
 */
export async function startCluster(spec: ClusterSpec = {}): Promise<Cluster> {
  const binaries = await findBinaries(spec.prefer === undefined ? {} : { prefer: spec.prefer })
  const account = await serverAccount()
  const directory = await makeDirectory(spec.directory, account)
  const kind = spec.backend === 'standin' || binaries.citus === null ? 'standin' : 'citus'
  const database = spec.database ?? 'app'
  const cluster = new Cluster({ spec, directory, binaries, account, ports: new PortPool(), kind, database })
  try {
    await cluster.boot()
    return cluster
  } catch (error) {
    await cluster.stop()
    throw error
  }
}

/** A running cluster. Build one with `startCluster`. */
export class Cluster {
  readonly directory: string
  readonly database: string
  /** `database` and the extra ones. */
  readonly databases: readonly string[]
  readonly #release: Release
  #site: Site
  #backend: Backend
  #members: Member[] = []
  #daemons: MaintenanceDaemon[] = []
  #saved: Saved | null = null
  #booting: Promise<void> | null = null
  #stopping: Promise<void> | null = null

  constructor(site: Site) {
    this.#site = site
    this.directory = site.directory
    this.database = site.database
    this.databases = [site.database, ...(site.spec.extraDatabases ?? [])]
    this.#backend = { kind: site.kind, postgres: site.binaries.version, citus: site.binaries.citus }
    this.#release = guard(this)
  }

  /** Real Citus or the stand-in, with versions. */
  get backend(): Backend {
    return this.#backend
  }

  get binaries(): Binaries {
    return this.#site.binaries
  }

  /** `real Citus 13.2.2 on PostgreSQL 15.20` or `the stand-in on PostgreSQL 18.4`. */
  describe(): string {
    return describeBackend(this.#backend)
  }

  /** All servers, the coordinator first, a primary before its standbys. */
  get servers(): readonly Server[] {
    return this.#members.map(({ server }) => server)
  }

  get coordinator(): Server {
    return this.server('coordinator')
  }

  /** Every physical standby of the coordinator, both kinds. */
  get coordinatorStandbys(): readonly Server[] {
    return this.#inGroup(0).slice(1)
  }

  /** The first coordinator that reads through secondaries. @throws Error when the spec has none. */
  get expand(): Server {
    return this.server('coordinator-expand')
  }

  get workers(): readonly Worker[] {
    const groups = new Set(this.#members.map(({ group }) => group).filter((group) => group > 0))
    return [...groups].map((group) => {
      const [primary, ...standbys] = this.#inGroup(group)
      if (primary === undefined) throw new Error(`group ${group} is empty`)
      return { group, primary, standbys }
    })
  }

  /** @throws Error where no server has the name. */
  server(name: string): Server {
    const found = this.#members.find(({ server }) => server.name === name)
    if (found === undefined) throw new Error(`there is no server ${name}`)
    return found.server
  }

  #inGroup(group: number): Server[] {
    return this.#members.filter((member) => member.group === group).map(({ server }) => server)
  }

  async boot(): Promise<void> {
    this.#booting ??= this.#boot()
    await this.#booting
  }

  async #boot(): Promise<void> {
    const { spec, account, directory, kind } = this.#site
    const binaries = await reachableBinaries(this.#site.binaries, account, directory)
    this.#site = { ...this.#site, binaries }
    const placed: Placed[] = []
    for (const plan of planServers(spec))
      placed.push({ ...plan, server: await newServer(this.#site, plan.name) })
    this.#members = placed.map(({ server, group }) => ({ server, group }))
    const primaries = placed.filter(({ upstream }) => upstream === null)
    this.#step(`creating ${placed.length} PostgreSQL ${binaries.version} servers in ${directory}`)
    await all(primaries.map((primary) => createGroup(this.#site, primary, placed)))
    this.#step('starting them')
    await all(this.servers.map((server) => server.start()))
    this.#step(kind === 'citus' ? 'installing Citus' : 'installing the stand-in for Citus')
    await all(primaries.map(({ server }) => createDatabases(this.#site, server, this.databases)))
    this.#backend = await identifyBackend(this.coordinator, binaries, kind)
    this.#step('registering the nodes')
    for (const database of this.databases) await registerNodes(spec, this.#members, database)
    await settle(this.#members, 30_000)
    this.#step(`running ${this.describe()}`)
    this.#startDaemons()
  }

  /** @throws Error where the cluster was stopped meanwhile, so that nothing more gets started. */
  #step(what: string): void {
    if (this.#stopping !== null) throw new Error('the cluster was stopped while it started')
    this.#site.spec.onProgress?.(what)
  }

  #startDaemons(): void {
    if (this.#backend.kind !== 'standin') return
    this.#daemons = this.#inGroup(0).flatMap((server) =>
      this.databases.map((database) => new MaintenanceDaemon(server, database)),
    )
  }

  /** Their sessions may hang in a frozen server: to be awaited after the servers were ended. */
  #stopDaemons(): Promise<unknown> {
    const stopped = all(this.#daemons.map((daemon) => daemon.stop()))
    this.#daemons = []
    return stopped
  }

  /**
   * Waits until `standby` streams from somewhere and has replayed everything `primary` has written by now.
   * @throws Error after `limitMs` (default 30 s).
   */
  async waitForReplay(standby: Server, primary: Server, limitMs = 30_000): Promise<void> {
    await waitForReplay(standby, primary, limitMs)
  }

  /**
   * Adds a standby of a running server by an online base backup, and registers it as a secondary on the
   * coordinator in every database unless told not to.
   * @param of the upstream; registering needs it to be its group's registered primary
   */
  async addStandby(
    of: Server,
    name: string,
    spec: StandbySpec & { coordinator?: Server } = {},
  ): Promise<Server> {
    const at = this.#members.findLastIndex(({ group }) => group === this.#groupOf(of))
    const server = await newServer(this.#site, name)
    await copyStandby(this.#site, of, server)
    this.#members.splice(at + 1, 0, { server, group: this.#groupOf(of) })
    await server.start()
    await this.waitForReplay(server, of)
    if (spec.registered !== false) {
      for (const database of this.databases) {
        await registerSecondary(spec.coordinator ?? this.coordinator, server, of, spec.nodecluster, database)
      }
    }
    return server
  }

  /**
   * An old primary comes back as a standby of the new one: stopped if it runs, its data replaced by a fresh
   * base backup, started, and waited for. It keeps its port and settings; `ALTER SYSTEM` settings are gone.
   */
  async rejoin(oldPrimary: Server, newPrimary: Server): Promise<void> {
    await oldPrimary.kill()
    removeSharedMemory(oldPrimary.directory)
    await copyStandby(this.#site, newPrimary, oldPrimary)
    await oldPrimary.start()
    await this.waitForReplay(oldPrimary, newPrimary)
  }

  #groupOf(server: Server): number {
    const member = this.#members.find((candidate) => candidate.server === server)
    if (member === undefined) throw new Error(`${server.name} is not part of this cluster`)
    return member.group
  }

  /**
   * Remembers the whole cluster for `restore`: stops it cleanly, copies every data directory, starts it again.
   * A later snapshot replaces an earlier one.
   */
  async snapshot(): Promise<void> {
    await this.#stopDaemons()
    const running = new Set(this.servers.filter((server) => server.isRunning))
    await stopInOrder(this.servers)
    const directories = await takeAll(this.servers, join(this.directory, 'snapshot'), this.#site.account)
    this.#saved = { members: [...this.#members], directories, running }
    await this.#startAll(running)
  }

  /**
   * Puts the cluster back to the last snapshot, ports included, whatever was done to it since. Sessions are
   * lost. Returns when the standbys stream again.
   * @throws Error where there is no snapshot.
   */
  async restore(): Promise<void> {
    if (this.#saved === null) throw new Error('restore without a snapshot')
    const { members, directories, running } = this.#saved
    const daemons = this.#stopDaemons()
    await all(this.servers.map((server) => this.#end(server)))
    await daemons
    const kept = new Set(members.map(({ server }) => server))
    const added = this.servers.filter((server) => !kept.has(server))
    await all(added.map(({ directory }) => rm(directory, { recursive: true, force: true })))
    this.#members = [...members]
    for (const directory of directories) directory.restore()
    await this.#startAll(running)
  }

  async #startAll(servers: ReadonlySet<Server>): Promise<void> {
    await all([...servers].map((server) => server.start()))
    await settle(this.#members, 30_000)
    this.#startDaemons()
  }

  /** Ends a server whatever state it is in; an immediate stop, unlike SIGKILL, frees its shared memory. */
  async #end(server: Server): Promise<void> {
    await server.stop('immediate', 3_000).catch(() => server.kill())
    removeSharedMemory(server.directory)
  }

  /** Stops everything and removes the directory; a second call waits for the first. */
  async stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    await this.#stopping
  }

  async #stop(): Promise<void> {
    for (const server of this.servers) server.retire()
    const daemons = this.#stopDaemons()
    await all(this.servers.map((server) => this.#end(server)))
    // A boot in progress fails with its servers; what it had begun may have started one more.
    await this.#booting?.catch(() => {})
    await all(this.servers.map((server) => this.#end(server)))
    await daemons
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
    this.#site.ports.release()
    this.#release()
  }

  /** Lets the cluster outlive this process: nobody cleans up behind it. The stand-in's daemon ends with us. */
  async detach(): Promise<void> {
    await this.#stopDaemons()
    this.#site.ports.release()
    this.#release()
  }
}
