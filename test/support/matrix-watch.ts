import type pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { type Given, NODE_AILMENTS, type NodeAilment, type Place, SERVER_AT } from './ailing-nodes.ts'
import { type Cell, DETECT_TIMEOUT_MS, DIRECTORY, keep, PLACES, soundBeside, tableOf } from './matrix.ts'
import { client, Scenario } from './scenario.ts'
import { WatchProcess } from './watch-process.ts'

/** What a machine with other work may add between two failovers, in milliseconds. */
const NOISE_MS = 1500
/** A watcher looks again at what it could not make right after half a minute at most, and Citus's own sync within a minute. */
const HEALED_MS = 75_000
/** After it was healed, each of these is right by itself; of the others there is one of the same kind among these. */
const HEALED: readonly string[] = [
  'frozen',
  'black-holed: packets to it are dropped',
  'killed',
  'refuses by pg_hba',
  'no role',
  'slots of prepared transactions full',
  'pg_dist_node locked by an idle transaction',
  'pg_dist_node locked by a prepared transaction',
  'a trigger on pg_dist_node raises',
]

/** A watcher as it is started by people, and what is to be measured of it. */
class Watched {
  readonly #scenario: Scenario
  readonly #process: WatchProcess
  readonly #sessions: pg.Client[] = []

  private constructor(scenario: Scenario, process: WatchProcess) {
    this.#scenario = scenario
    this.#process = process
  }

  /** One that has seen every node that runs, and leads. */
  static async start(scenario: Scenario, options: readonly string[]): Promise<Watched> {
    const args = [...scenario.options, ...options, '--log-level', 'debug']
    const watched = new Watched(scenario, WatchProcess.start(args))
    await watched.#process.says('this instance leads')
    const { servers } = scenario.cluster
    const isSeen = ({ port }: Server) =>
      watched.#process.lines.some(
        ({ event, what, msg }) => event === 'noticed' && what === 'back' && msg.includes(`:${port}`),
      )
    await waitUntil('it has a pulse on every node', () =>
      servers.filter((each) => each.isRunning).every(isSeen),
    )
    return watched
  }

  get log(): string {
    return this.#process.lines.map(({ msg }) => msg).join('\n')
  }

  /** It has found out that the node does not answer, and says so. */
  async knowsSilent(at: string): Promise<void> {
    await this.#process.says(`${at} does not answer`)
    // What is done about a secondary is done before the promotion, too.
    if (this.#process.lines.some(({ code }) => code === 'secondary-down'))
      await this.#process.says(/^group \d: (changed|unproved)$/)
  }

  /** A real promotion in group 1. @returns milliseconds until each of these copies had it; null: one has not got it */
  async failOver(sound: readonly Server[]): Promise<{ tookMs: number; wrong: string[] }> {
    const { cluster } = this.#scenario
    const promoted = cluster.server('worker-1-standby')
    const asked = await Promise.all(
      sound.map(async (server) => {
        const session = await client(server, cluster.database)
        this.#sessions.push(session)
        return { server, session }
      }),
    )
    await cluster.server('worker-1').kill()
    const began = performance.now()
    const promoting = promoted.promote()
    const sql = `SELECT FROM pg_dist_node WHERE groupid = 1 AND noderole = 'primary' AND nodeport = ${promoted.port}`
    const wrong: string[] = []
    const right = asked.map(async ({ server, session }) => {
      const isRight = async () => ((await session.query(sql)).rowCount ?? 0) > 0
      await waitUntil(`${server.name} is right`, isRight, { limitMs: 15_000, everyMs: 5 }).catch(() =>
        wrong.push(server.name),
      )
    })
    await Promise.all(right)
    const tookMs = performance.now() - began
    await promoting
    return { tookMs, wrong }
  }

  /** What it says of its change, and of the node. */
  async told(at: string): Promise<{ outcome: string; line: string }> {
    const acted = await this.#process.says(/^groups? [\d, ]*1[\d, ]*: (changed|unproved|converged)$/)
    const from = this.#process.lines.indexOf(acted)
    const lines = () =>
      this.#process.lines.slice(from).filter(({ event }) => event === 'warning' || event === 'acted')
    const line = lines().find(({ msg }) => msg.includes(at))?.msg ?? ''
    return { outcome: String(acted.outcome), line }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#sessions.map((session) => session.end().catch(() => undefined)))
    await this.#process.stop()
  }
}

/**
 * The matrix for a watcher that runs: the node ails since it was seen by it, and known to, when group 1 fails over. Times are
 * from the promotion until every sound copy has it.
 */
export function watchMatrix(): void {
  describe('a node that ails is its own trouble: a running watch', () => {
    let scenario: Scenario
    let watched: Watched | null = null
    let heal: () => unknown = () => undefined
    let controlMs = 0
    const cells: Cell[] = []
    const told = { command: 'watch', cells } as const

    beforeAll(async () => {
      scenario = await Scenario.start({
        workers: [{ standbys: [{}, {}] }, { standbys: [{}] }],
        coordinatorStandbys: [{ kind: 'standby' }, { kind: 'expand' }],
      })
    })
    afterEach(async () => {
      await watched?.stop()
      watched = null
      await heal()
      heal = () => undefined
    })
    afterAll(async () => {
      await scenario?.stop()
      process.stdout.write(`\n${tableOf([told], 'with times')}\n`)
      if (DIRECTORY) await keep(DIRECTORY, told)
    })

    it('the control, with nobody that ails', async () => {
      const times: number[] = []
      for (let n = 0; n < 3; n++) {
        await watched?.stop()
        await scenario.cluster.restore()
        watched = await Watched.start(scenario, [])
        const { tookMs, wrong } = await watched.failOver(soundBeside(scenario, null))
        expect(wrong, watched.log).toEqual([])
        times.push(tookMs)
      }
      controlMs = times.sort((a, b) => a - b)[1] ?? 0
      process.stdout.write(`control: ${times.map(Math.round).join(', ')} ms\n`)
    })

    // Those that hang, wherever they do; of the others the one whose copy is to be written.
    const all = NODE_AILMENTS.flatMap((ailment) => {
      const isWanted = (place: Place) => place === 'other worker' || (ailment.hangs && ailment.isSilent)
      return (ailment.places ?? PLACES).filter(isWanted).map((place) => ({ ailment, place }))
    })

    it.for(all.map((each) => [each.ailment.name, each.place, each.ailment] as const))(
      '%s, %s',
      async ([_, place, ailment], { skip }) => {
        const missing = ailment.missing?.(scenario) ?? null
        if (missing !== null) skip(missing)
        await scenario.cluster.restore()
        const server = scenario.cluster.server(SERVER_AT[place])
        const at = formatAddress(server)
        const given: Given = { scenario, server, options: [] }
        const inflict = (await ailment.prepare?.(given)) ?? ailment.inflict
        watched = await Watched.start(scenario, given.options)
        heal = await inflict({ ...given, options: [] })
        if (ailment.isSilent) await watched.knowsSilent(at)
        const { tookMs, wrong } = await watched.failOver(soundBeside(scenario, server))
        const { outcome, line } = await watched.told(at)
        const moreMs = tookMs - controlMs
        cells.push({
          ailment: ailment.name,
          place,
          command: 'watch',
          exitCode: outcome,
          wrong,
          tookMs,
          moreMs,
          line,
        })
        expect(wrong, watched.log).toEqual([])
        // What is known to hang costs nothing more: less than what it takes to find out that it does.
        expect(moreMs, watched.log).toBeLessThan(ailment.isSilent ? DETECT_TIMEOUT_MS - 500 : NOISE_MS)
        if (!HEALED.includes(ailment.name) || place !== 'other worker') return
        await heal()
        heal = () => undefined
        await expectHealed(ailment, server)
      },
    )

    async function expectHealed({ name }: NodeAilment, server: Server): Promise<void> {
      const { coordinator } = scenario.cluster
      const isRight = async () => {
        const [own, theirs] = await Promise.all([server, coordinator].map((each) => scenario.rows(each)))
        return JSON.stringify(own) === JSON.stringify(theirs)
      }
      await waitUntil(`${name}: it is right again by itself`, () => isRight().catch(() => false), {
        limitMs: HEALED_MS,
        everyMs: 50,
      })
    }
  })
}
