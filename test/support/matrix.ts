import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { NODE_AILMENTS, type NodeAilment, type Place, SERVER_AT } from './ailing-nodes.ts'
import type { Ran, Rows } from './scenario.ts'
import { citusHa, Scenario } from './scenario.ts'

/** What is asked for while the node ails: after a promotion in group 1, or to make it; and what runs since before it ailed. */
export type Command = 'reconcile' | 'event' | 'watch --once' | 'watch' | Swap
type Swap = 'switchover' | 'switchover --allow-unreachable'

/** Comes to its end by itself. */
type OneShot = Exclude<Command, 'watch'>

const isSwap = (command: Command): command is Swap => command.startsWith('switchover')

/** One cell of the matrix: what a command did for group 1 while a node elsewhere ailed. */
export interface Cell {
  readonly ailment: string
  readonly place: Place | '–'
  readonly command: Command
  /** Of one that does not end, what it says of its change. */
  readonly exitCode: number | string
  /** Copies of sound nodes that are not right. */
  readonly wrong: readonly string[]
  /** Of a watcher: until every sound copy was right. */
  readonly tookMs: number
  /** Beside the control of the same run. */
  readonly moreMs?: number
  /** What was printed of the node that ails. */
  readonly line: string
}

/** Who can't be right, whatever is done: the old primary, and its other standby, which follows nobody by itself. */
const NEVER_RIGHT = ['worker-1', 'worker-1-standby-2']

export const PLACES = Object.keys(SERVER_AT) as Place[]

/** A node that ails from now on, with the cluster as it was at the snapshot otherwise. */
class Case {
  readonly scenario: Scenario
  readonly place: Place
  readonly #ailment: NodeAilment | null
  readonly #options: string[]
  readonly heal: () => Promise<unknown>

  private constructor(
    scenario: Scenario,
    ailment: NodeAilment | null,
    place: Place,
    options: string[],
    heal: () => unknown,
  ) {
    this.scenario = scenario
    this.place = place
    this.#ailment = ailment
    this.#options = options
    this.heal = async () => await heal()
  }

  static async begin(scenario: Scenario, ailment: NodeAilment | null, place: Place): Promise<Case> {
    await scenario.cluster.restore()
    const server = scenario.cluster.server(SERVER_AT[place])
    const options: string[] = []
    const heal = (await ailment?.inflict({ scenario, server, options })) ?? (() => undefined)
    return new Case(scenario, ailment, place, options, heal)
  }

  /** A real promotion in group 1. */
  async failOver(): Promise<void> {
    const { cluster } = this.scenario
    await cluster.server('worker-1').kill()
    await cluster.server('worker-1-standby').promote()
  }

  async run(command: OneShot): Promise<Cell & { readonly ran: Ran }> {
    const { scenario, place } = this
    const { cluster } = scenario
    const began = performance.now()
    const { words, args } = wordsOf(scenario, command)
    // The options of an event stand before what the tool says.
    const ran = await citusHa([...words, ...scenario.options, ...this.#options, ...args])
    const tookMs = performance.now() - began
    const server = cluster.server(SERVER_AT[place])
    const sound = soundBeside(scenario, this.#ailment === null ? null : server)
    const isUntouched = isSwap(command) && (ran.exitCode === 3 || ran.exitCode === 4)
    const wrong = isUntouched ? await touchedOf(scenario, sound) : await wrongOf(scenario, sound)
    const line = this.#ailment === null ? '' : lineAbout(ran, formatAddress(server))
    const where = this.#ailment === null ? '–' : place
    const told = { ailment: this.#ailment?.name ?? 'none: the control', place: where, command } as const
    return { ...told, exitCode: ran.exitCode, wrong, tookMs, line, ran }
  }
}

/** Servers that are to have the new primary in their copies, whoever ails. */
export function soundBeside({ cluster }: Scenario, ailing: Server | null): Server[] {
  const out = ailing ? [ailing.name, `${ailing.name}-standby`] : []
  return cluster.servers.filter(
    ({ name, isRunning }) => isRunning && ![...NEVER_RIGHT, ...out].includes(name),
  )
}

/** A real promotion in group 1 while the node ails; then the command. */
export async function runCell(
  scenario: Scenario,
  ailment: NodeAilment | null,
  place: Place,
  command: Exclude<OneShot, Swap>,
): Promise<Cell & { readonly ran: Ran; readonly heal: () => Promise<unknown> }> {
  const given = await Case.begin(scenario, ailment, place)
  await given.failOver()
  return { ...(await given.run(command)), heal: given.heal }
}

function wordsOf({ cluster }: Scenario, command: OneShot): { words: string[]; args: string[] } {
  const promoted = formatAddress(cluster.server('worker-1-standby'))
  switch (command) {
    case 'event':
      return { words: ['event', 'promoted'], args: [promoted] }
    case 'watch --once':
      return { words: ['watch', '--once'], args: [] }
    case 'reconcile':
      return { words: ['reconcile'], args: [] }
    case 'switchover':
    case 'switchover --allow-unreachable':
      return { words: [...command.split(' '), '--group', '1', '--to', promoted, '--yes'], args: [] }
  }
}

function lineAbout({ stdout, stderr }: Ran, at: string): string {
  const lines = `${stdout}\n${stderr}`.split('\n').filter((line) => line.includes(at))
  return (
    lines.find((line) => /left out|worker\)|coordinator\)|candidate\)|standby\)/.test(line)) ??
    lines.find((line) => line.trim().startsWith(at)) ??
    lines.at(-1) ??
    ''
  ).trim()
}

const primaryAt = ({ cluster }: Scenario, name: string) =>
  `group 1 primary ${formatAddress(cluster.server(name))}`

type Servers = readonly Server[]

/** Those whose rows don't name the new primary. */
async function wrongOf(scenario: Scenario, servers: Servers): Promise<string[]> {
  const promoted = primaryAt(scenario, 'worker-1-standby')
  const isRight = (rows: Rows) => rows.some((row) => row.includes(promoted))
  const wrong: string[] = []
  for (const server of servers) {
    const right = waitUntil(
      `${server.name} is right`,
      async () => isRight(await scenario.rows(server).catch(() => [])),
      { limitMs: 1500, everyMs: 20 },
    )
    await right.catch(() => wrong.push(server.name))
  }
  return wrong
}

/** What was refused changes nothing: those whose rows don't name the old primary. */
async function touchedOf(scenario: Scenario, servers: Servers): Promise<string[]> {
  const old = primaryAt(scenario, 'worker-1')
  const touched: string[] = []
  for (const server of servers)
    if (!(await scenario.rows(server)).some((row) => row.includes(old))) touched.push(server.name)
  return touched
}

export const DETECT_TIMEOUT_MS = 2000
const AT_ONCE_MS = 300
/** For a report that waits for Citus's own sync of a copy. */
const SYNC_MS = 6000
/** What a machine with other work may add between two runs of a command, in milliseconds. */
const NOISE_MS = 2500

/** The matrix for one command, as tests. `CITUS_HA_MATRIX_DIR`: where the cells are put, and the table of all commands. */
export function matrixOf(command: OneShot): void {
  describe(`a node that ails is its own trouble: ${command} of group 1`, () => {
    let scenario: Scenario
    let given: Case | null = null
    let controlMs = 0
    const cells: Cell[] = []

    beforeAll(async () => {
      scenario = await Scenario.start({
        workers: [{ standbys: [{}, {}] }, { standbys: [{}] }],
        coordinatorStandbys: [{ kind: 'standby' }, { kind: 'expand' }],
      })
      if (!isSwap(command)) return
      await scenario.install('--switchover')
      await scenario.settle()
      await scenario.cluster.snapshot()
    })
    afterAll(async () => {
      await scenario?.stop()
      process.stdout.write(`\n${tableOf([{ command, cells }], 'with times')}\n`)
      if (DIRECTORY) await keep(DIRECTORY, { command, cells })
    })

    const begin = async (ailment: NodeAilment | null, place: Place) => {
      given = await Case.begin(scenario, ailment, place)
      if (!isSwap(command)) await given.failOver()
      return given
    }

    it('the control, with nobody that ails', async () => {
      const times: number[] = []
      for (let n = 0; n < 3; n++) {
        const cell = await (await begin(null, 'other worker')).run(command)
        expect(cell, cell.ran.stdout + cell.ran.stderr).toMatchObject({ exitCode: 0, wrong: [] })
        times.push(cell.tookMs)
      }
      controlMs = times.sort((a, b) => a - b)[1] ?? 0
    })

    const all = NODE_AILMENTS.flatMap((ailment) =>
      (ailment.places ?? PLACES)
        // A standby's copy is in nobody's way there.
        .filter((place) => command !== 'switchover --allow-unreachable' || place === 'other worker')
        .map((place) => ({ ailment, place })),
    )

    it.for(all.map((each) => [each.ailment.name, each.place, each.ailment] as const))(
      '%s, %s',
      async ([_, place, ailment], { skip }) => {
        const missing = ailment.missing?.(scenario) ?? null
        if (missing !== null) skip(missing)
        given = await begin(ailment, place)
        try {
          const { ran, ...cell } = await given.run(command)
          // Of several runs in one directory each cell has its own control.
          cells.push({ ...cell, moreMs: cell.tookMs - controlMs })
          judge(
            { ...cell, ran },
            ailment,
            formatAddress(scenario.cluster.server(SERVER_AT[place])),
            controlMs,
          )
        } finally {
          await given.heal()
        }
      },
    )
  })
}

function judge(
  cell: Cell & { readonly ran: Ran },
  ailment: NodeAilment,
  at: string,
  controlMs: number,
): void {
  const { place, command, exitCode, line, wrong, tookMs } = cell
  const said = cell.ran.stdout + cell.ran.stderr
  expect(wrong, said).toEqual([])
  // 3: what is registered as a primary is none; the others are right all the same. A switchover that nobody needs at once is
  // refused, or waits for a lock until its deadline (4), and leaves all as it was.
  const allowed = place === 'other worker' ? [0, 3, 5] : [0, 5]
  const swapped = place === 'other worker' ? [0, 3, 4, 5] : [0, 5]
  // What was allowed to be out of reach keeps nobody waiting, unless it holds shards of the group, as any writer may.
  const without = ailment.holdsShards ? [0, 4, 5] : [0, 3, 5]
  const swaps = command === 'switchover --allow-unreachable' ? without : swapped
  expect(isSwap(command) ? swaps : allowed, said).toContain(exitCode)
  // What is about one group alone, and came through, says nothing of others' trouble.
  const isOfOneGroup = command === 'event' || isSwap(command)
  if (!ailment.harmless && !(isOfOneGroup && exitCode === 0)) expect(line, said).toContain(at)
  if (ailment.says && place === 'other worker' && exitCode !== 4) expect(line, said).toMatch(ailment.says)
  if (!isSwap(command)) {
    // 0 only where it was read and is right: Citus's own sync may have been there first.
    const isRight = ailment.harmless || /\): up to date\b/.test(line)
    if (place === 'other worker' && exitCode !== 3) expect(exitCode, said).toBe(isRight ? 0 : 5)
    if (ailment.harmless) expect(exitCode, said).toBe(0)
  }
  const allowedMs = ailment.hangs ? DETECT_TIMEOUT_MS : ailment.isSynced ? SYNC_MS : AT_ONCE_MS
  if (exitCode !== 4) expect(tookMs - controlMs, said).toBeLessThan(allowedMs + NOISE_MS)
}

export const DIRECTORY = process.env.CITUS_HA_MATRIX_DIR

const COMMANDS: readonly Command[] = [
  'reconcile',
  'event',
  'watch --once',
  'watch',
  'switchover',
  'switchover --allow-unreachable',
]

/** Those that are run with every ailment at every place. */
const EVERYWHERE: readonly Command[] = ['reconcile', 'event', 'watch --once', 'switchover']

interface Told {
  readonly command: Command
  readonly cells: readonly Cell[]
}

/** Rows of an earlier run stay where this one had none of the kind. */
export async function keep(directory: string, own: Told): Promise<void> {
  await mkdir(directory, { recursive: true })
  const fileOf = (command: Command) => join(directory, `${command.replaceAll(/\W+/g, '-')}.json`)
  const read = async (command: Command): Promise<Told | null> => {
    const text = await readFile(fileOf(command), 'utf8').catch(() => null)
    return text === null ? null : (JSON.parse(text) as Told)
  }
  const earlier = (await read(own.command))?.cells ?? []
  const isNew = (one: Cell) =>
    own.cells.some((each) => each.ailment === one.ailment && each.place === one.place)
  const cells = [...earlier.filter((one) => !isNew(one)), ...own.cells]
  await writeFile(fileOf(own.command), JSON.stringify({ ...own, cells }))
  const told = await Promise.all(COMMANDS.map(read))
  await writeFile(
    join(directory, 'table.md'),
    `${tableOf(
      told.filter((each) => each !== null),
      'without',
    )}\n`,
  )
}

/** The matrix as a table of Markdown. Times mean something where the machine had nothing else to do. */
export function tableOf(told: readonly Told[], times: 'with times' | 'without'): string {
  const rows = NODE_AILMENTS.flatMap(({ name }) => PLACES.map((place) => ({ name, place }))).flatMap(
    ({ name, place }) => {
      const cells = told.map(({ command, cells }) => ({
        cell: cells.find((each) => each.ailment === name && each.place === place),
        none: EVERYWHERE.includes(command) ? '–' : '',
      }))
      const [first] = cells.flatMap(({ cell }) => cell ?? [])
      if (!first) return []
      const shown = cells.map(({ cell, none }) =>
        cell
          ? `${cell.exitCode}${wrongText(cell)}${times === 'without' ? '' : `, ${seconds(cell.moreMs ?? 0)}`}`
          : none,
      )
      return [`| ${[name, place, ...shown, lineText(first.line)].join(' | ')} |`]
    },
  )
  const heads = ['ailment', 'of', ...told.map(({ command }) => command), 'the line that names it']
  return [`| ${heads.join(' | ')} |`, `|${'---|'.repeat(heads.length)}`, ...rows].join('\n')
}

const wrongText = ({ wrong }: Cell): string => (wrong.length === 0 ? '' : ` (wrong: ${wrong.join(', ')})`)

const seconds = (ms: number): string => `${ms < 0 ? '−' : '+'}${(Math.abs(ms) / 1000).toFixed(1)} s`

function lineText(line: string): string {
  return line
    .replaceAll(/\[::ffff:127\.0\.0\.1\]:\d+/g, 'ANOTHER-NAME')
    .replaceAll(/127\.0\.0\.1:\d+/g, 'NODE')
    .replaceAll(/\b(within|up to date after) [\d.]+ ms/g, '$1 …')
    .replaceAll(/\bpid \d+/g, 'pid N')
    .replaceAll(/; to find the cause, run: psql .*/g, '; to find the cause, run: …')
    .replaceAll(/-p \d+/g, '-p PORT')
    .replaceAll(/\b\d{19}\b/g, 'N')
    .replaceAll('|', '\\|')
}
