import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describeBackend } from './backend.ts'
import { findBinaries } from './binaries.ts'
import { type Cast, castOf, promote } from './cast.ts'
import { type Cluster, startCluster, stopAllClusters } from './cluster.ts'
import { keep } from './keep.ts'
import type { Server } from './server.ts'
import {
  addressOf,
  byHand,
  type Colors,
  columns,
  copies,
  duration,
  routes,
  tallies,
  topology,
  urls,
} from './show.ts'
import { startWriters, type Writers } from './writers.ts'

/** Where a demo is told, and what it gets handed from the command line. */
export interface Stage {
  /** Told one line without its end. */
  readonly say: (line: string) => void
  readonly colors: Colors
  /** Ends everything at any moment. */
  readonly signal: AbortSignal
  /** What to type for the program, for the commands that are shown. */
  readonly program: string
  /** Runs a command of citus-ha in this process, printing what it prints. @returns its exit code */
  readonly citusHa: (args: readonly string[]) => Promise<number>
}

/** What is left of a demo: nothing, or a running cluster. */
export type Ending = 'stop' | 'keep'

const GROUP = 1
const DATABASE = 'app'
const ENOUGH = 20
const WATCH_MS = 1500

/**
 * Starts a cluster, breaks it, has it mended by the real `reconcile`, and tells everything.
 * Whatever happens, no process and no file is left, but for a demo that came to its end and is to be kept.
 * @throws Error where a step failed; the signal's reason when aborted
 */
export async function tellDemo(stage: Stage, ending: Ending): Promise<void> {
  const { signal } = stage
  signal.throwIfAborted()
  // Whoever awaits the cluster's end below gets the error, if there is one.
  const stopNow = () => {
    stage.say('interrupted: stopping the servers')
    void stopAllClusters().catch(() => {})
  }
  signal.addEventListener('abort', stopNow, { once: true })
  try {
    await new Demo(stage, ending).tell()
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  } finally {
    signal.removeEventListener('abort', stopNow)
  }
}

class Demo {
  readonly #stage: Stage
  readonly #ending: Ending
  readonly #took: [string, number][] = []

  constructor(stage: Stage, ending: Ending) {
    this.#stage = stage
    this.#ending = ending
  }

  async tell(): Promise<void> {
    const began = performance.now()
    await this.#sayBackend()
    const cluster = await this.#start()
    try {
      await this.#play(cluster)
      this.#summary(performance.now() - began)
      if (this.#ending === 'keep') await this.#keep(cluster)
      this.#stage.signal.throwIfAborted()
    } catch (error) {
      await cluster.stop()
      // A base backup that was under way may have gone on for a moment; now nothing does.
      await rm(cluster.directory, { recursive: true, force: true })
      throw error
    }
    if (this.#ending === 'keep') return
    this.#title('The end')
    this.#say('stopping the servers')
    await cluster.stop()
    this.#say(`all processes have ended, ${cluster.directory} is removed`)
  }

  async #sayBackend(): Promise<void> {
    const { version, citus, source } = await findBinaries()
    const backend = describeBackend({ kind: citus ? 'citus' : 'standin', postgres: version, citus })
    const where = source === 'embedded' ? ' (the embedded binaries from npm)' : ''
    this.#stage.say(this.#stage.colors.bold(`citus-ha demo on ${backend}${where}`))
    if (!citus) {
      this.#stage.say(
        'There is no Citus extension here: the stand-in has its catalog, node functions and locks, but',
      )
      this.#stage.say('runs no distributed query. PostgreSQL and its replication are real.')
    }
  }

  async #start(): Promise<Cluster> {
    const { signal } = this.#stage
    return await this.#step('start', 'Start a coordinator and two workers, with a standby each', () =>
      startCluster({
        database: DATABASE,
        onProgress: (line) => {
          signal.throwIfAborted()
          this.#say(line)
        },
      }),
    )
  }

  async #play(cluster: Cluster): Promise<void> {
    const cast = castOf(cluster)
    await this.#install(cluster)
    const entries = [cast.coordinator, cast.otherWorker]
    const writers = await startWriters(cluster, GROUP, entries, this.#stage.signal)
    try {
      await this.#showHealthy(cluster, cast, writers)
      await this.#fail(cluster, cast, writers)
      await this.#reconcile(cluster, cast, writers)
    } finally {
      await writers?.stop()
    }
    if (!writers) return
    this.#title('Writes that succeeded / failed')
    this.#lines(tallies(writers, this.#stage.colors))
    this.#say(
      `(of the longest gap, ${duration(2 * WATCH_MS)} are a pause of this demo, in which you see the writes fail)`,
    )
  }

  /** The file, not CITUS_HA_* of whoever runs the demo, says which cluster every command is about. */
  async #install(cluster: Cluster): Promise<void> {
    const candidates = [cluster.coordinator, ...cluster.coordinatorStandbys]
    const entries = candidates.map((server) => `  - url: ${server.url(DATABASE, 'citus_ha')}\n`)
    const lines = ['cluster: demo\n', `databases: [${DATABASE}]\n`, 'coordinators:\n', ...entries]
    await writeFile(configOf(cluster), lines.join(''))
    const asSuperuser = candidates.flatMap((server) => ['--coordinator', server.url(DATABASE)])
    await this.#step('install', 'Install citus-ha: its schema, and a role with no other privileges', () =>
      this.#run(['install', '--config', configOf(cluster), ...asSuperuser]),
    )
  }

  async #showHealthy(cluster: Cluster, cast: Cast, writers: Writers | null): Promise<void> {
    this.#title('The topology')
    this.#lines(await topology(cluster))
    this.#say(`The copies of pg_dist_node, rows of group ${GROUP} (worker 1):`)
    await this.#showCopies(cluster, cast, cast.doomed)
    if (!writers) return
    this.#say(
      `Two clients insert all the time, through ${writers.all.map((w) => w.through.name).join(' and ')},`,
    )
    this.#say('into those shards of a distributed table that worker 1 has.')
    await writers.stayIn('before', { minimumMs: 1000, until: ({ ok }) => ok >= ENOUGH })
    this.#sayWrites(writers, 'before')
  }

  async #fail(cluster: Cluster, cast: Cast, writers: Writers | null): Promise<void> {
    const { doomed, heir } = cast
    // In the same turn as the kill: no write begins in between.
    writers?.enter('primary dead')
    await this.#step('kill', `Kill the primary of worker 1 (SIGKILL, ${addressOf(doomed)})`, () =>
      doomed.kill(),
    )
    await writers?.stayIn('primary dead', { minimumMs: WATCH_MS, until: ({ failed }) => failed >= 1 })
    if (writers) this.#sayWrites(writers, 'primary dead')
    await this.#step('promote', `Promote its standby (${addressOf(heir)}), as an HA tool would`, () =>
      promote(heir),
    )
    await writers?.stayIn('promoted', { minimumMs: WATCH_MS, until: ({ failed }) => failed >= 1 })
    this.#title('What is wrong now: the new primary writes, but no copy of pg_dist_node knows it')
    await this.#showCopies(cluster, cast, heir)
    if (writers) this.#sayWrites(writers, 'promoted')
    await this.#run(['status', '--config', configOf(cluster)], [0, 3])
  }

  async #reconcile(cluster: Cluster, cast: Cast, writers: Writers | null): Promise<void> {
    writers?.enter('reconcile')
    await this.#step(
      'reconcile',
      'Reconcile: prove the promotion, and change every copy in one transaction',
      () => this.#run(['reconcile', '--config', configOf(cluster)]),
    )
    this.#title('The copies after it')
    await this.#showCopies(cluster, cast, cast.heir)
    if (!writers) return
    await writers.stayIn('after', { minimumMs: 1000, until: ({ ok }) => ok >= ENOUGH })
    this.#sayWrites(writers, 'after')
    for (const { through, recoveredMs } of writers.all) {
      if (recoveredMs === null) continue
      this.#say(
        `${through.name}: the first write came through ${duration(recoveredMs)} after reconcile began`,
      )
    }
  }

  async #showCopies(
    cluster: Cluster,
    { copies: servers, coordinator, otherWorker, heir }: Cast,
    primary: Server,
  ) {
    const { colors } = this.#stage
    this.#lines(await copies(cluster, { group: GROUP, copies: servers, primary }, colors))
    if (cluster.backend.kind === 'standin') {
      const entries = primary === heir ? [coordinator, otherWorker, heir] : [coordinator, otherWorker]
      this.#lines(await routes(cluster, GROUP, entries, colors))
    }
  }

  #sayWrites(writers: Writers, phase: Parameters<Writers['enter']>[0]): void {
    const { colors } = this.#stage
    for (const writer of writers.all) {
      const { ok, failed } = writer.tally(phase)
      const text = `writes through ${writer.through.name}: ${ok} succeeded, ${failed} failed`
      this.#say(failed > 0 ? colors.red(text) : colors.green(text))
      if (failed > 0) this.#say(colors.dim(`  ${writer.lastError}`))
    }
  }

  #summary(ms: number): void {
    this.#title('How long it took')
    this.#lines(columns([...this.#took, ['all', ms] as const].map(([name, took]) => [name, duration(took)])))
  }

  async #keep(cluster: Cluster): Promise<void> {
    const cast = castOf(cluster)
    await this.#step('rejoin', 'Bring the old primary back as a standby of the new one', async () => {
      this.#say('a fresh base backup, then reconcile, since a secondary is back')
      await cluster.rejoin(cast.doomed, cast.heir)
      await this.#run(['reconcile', '--config', configOf(cluster)])
    })
    await keep(cluster)
    this.#title('The cluster keeps running')
    this.#lines(await urls(cluster))
    const victim = { primary: cast.otherWorker, heir: cast.otherHeir }
    for (const line of byHand(cluster, victim, this.#stage.program, configOf(cluster))) this.#stage.say(line)
  }

  async #run(args: readonly string[], expected: readonly number[] = [0]): Promise<void> {
    this.#say(this.#stage.colors.cyan(`$ ${this.#stage.program} ${args.join(' ')}`))
    const exitCode = await this.#stage.citusHa(args)
    this.#stage.signal.throwIfAborted()
    if (!expected.includes(exitCode))
      throw new Error(`${args[0]} ended with exit code ${exitCode}, see above`)
  }

  async #step<T>(name: string, title: string, work: () => Promise<T>): Promise<T> {
    this.#title(title)
    const began = performance.now()
    const result = await work()
    this.#stage.signal.throwIfAborted()
    const ms = performance.now() - began
    this.#took.push([name, ms])
    this.#say(this.#stage.colors.dim(`took ${duration(ms)}`))
    return result
  }

  #title(text: string): void {
    this.#stage.say('')
    this.#stage.say(this.#stage.colors.bold(text))
  }

  #say(line: string): void {
    this.#stage.say(`  ${line}`)
  }

  #lines(lines: readonly string[]): void {
    for (const line of lines) this.#say(line)
  }
}

function configOf(cluster: Cluster): string {
  return join(cluster.directory, 'citus-ha.yaml')
}
