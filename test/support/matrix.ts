import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { type NodeAilment, type Place, SERVER_AT } from './ailing-nodes.ts'
import type { Ran, Rows, Scenario } from './scenario.ts'

/** What is asked for after a promotion in group 1. */
export type Command = 'reconcile' | 'event' | 'watch --once'

/** One cell of the matrix: what a command did for group 1 while a node elsewhere ailed. */
export interface Cell {
  readonly ailment: string
  readonly place: Place | '–'
  readonly command: Command
  readonly exitCode: number
  /** Copies of sound nodes that are not right. */
  readonly wrong: readonly string[]
  readonly tookMs: number
  /** What was printed of the node that ails. */
  readonly line: string
  readonly ran: Ran
}

/** Who can't be right, whatever is done: the dead primary, and its other standby, which follows nobody by itself. */
const NEVER_RIGHT = ['worker-1', 'worker-1-standby-2']

/** A real promotion in group 1 while the node ails; then the command. */
export async function runCell(
  scenario: Scenario,
  ailment: NodeAilment | null,
  place: Place,
  command: Command,
): Promise<Cell & { readonly heal: () => Promise<unknown> }> {
  const { cluster } = scenario
  await cluster.restore()
  const server = cluster.server(SERVER_AT[place])
  const heal = (await ailment?.inflict({ scenario, server })) ?? (() => undefined)
  await cluster.server('worker-1').kill()
  await cluster.server('worker-1-standby').promote()
  const began = performance.now()
  const ran = await scenario.run(...wordsOf(scenario, command))
  const tookMs = performance.now() - began
  const sound = cluster.servers.filter(
    (each) => each.isRunning && each !== server && !NEVER_RIGHT.includes(each.name),
  )
  const follows = sound.filter(({ name }) => !(place === 'other worker' && name === 'worker-2-standby'))
  const wrong = await wrongOf(scenario, follows)
  const at = formatAddress(server)
  const line = ailment === null ? '' : lineAbout(ran, at)
  const where = ailment === null ? '–' : place
  const told = { ailment: ailment?.name ?? 'none: the control', place: where, command } as const
  return { ...told, exitCode: ran.exitCode, wrong, tookMs, line, ran, heal: async () => await heal() }
}

function wordsOf({ cluster }: Scenario, command: Command): string[] {
  const promoted = formatAddress(cluster.server('worker-1-standby'))
  if (command === 'event') return ['event', 'promoted', promoted]
  return command === 'watch --once' ? ['watch', '--once'] : ['reconcile']
}

function lineAbout({ stdout, stderr }: Ran, at: string): string {
  const lines = `${stdout}\n${stderr}`.split('\n').filter((line) => line.includes(at))
  return (
    lines.find((line) => /left out|worker\)|coordinator\)|candidate\)|standby\)/.test(line)) ??
    lines[0] ??
    ''
  ).trim()
}

async function wrongOf(scenario: Scenario, servers: Scenario['cluster']['servers']): Promise<string[]> {
  const promoted = formatAddress(scenario.cluster.server('worker-1-standby'))
  const isRight = (rows: Rows) => rows.some((row) => row.includes(`group 1 primary ${promoted}`))
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

/** The matrix as a table of Markdown. */
export function tableOf(cells: readonly Cell[], controls: ReadonlyMap<Command, number>): string {
  const rows = cells.map(({ ailment, place, command, exitCode, wrong, tookMs, line }) => {
    const more = Math.round(tookMs - (controls.get(command) ?? 0))
    const right = wrong.length === 0 ? 'yes' : `no: ${wrong.join(', ')}`
    const said = line
      .replaceAll(/127\.0\.0\.1:\d+/g, 'NODE')
      .replaceAll(/-p \d+/g, '-p PORT')
      .replaceAll('|', '\\|')
    return `| ${ailment} | ${place} | ${command} | ${exitCode} | ${right} | ${more >= 0 ? '+' : ''}${more} ms | ${said} |`
  })
  return [
    '| ailment | of | command | exit | right on all sound copies | beside the control | the line that names it |',
    '|---|---|---|---|---|---|---|',
    ...rows,
  ].join('\n')
}
