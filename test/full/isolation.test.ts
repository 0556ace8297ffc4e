import { writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { formatAddress } from '../../src/model/node.ts'
import { NODE_AILMENTS, type Place, SERVER_AT } from '../support/ailing-nodes.ts'
import { type Cell, type Command, runCell, tableOf } from '../support/matrix.ts'
import { Scenario } from '../support/scenario.ts'

/** `CITUS_HA_MATRIX=all`: every command; a file's name in `CITUS_HA_MATRIX_FILE`: the table is written there. */
const COMMANDS: readonly Command[] =
  process.env.CITUS_HA_MATRIX === 'all' ? ['reconcile', 'event', 'watch --once'] : ['reconcile']
const PLACES = Object.keys(SERVER_AT) as Place[]

/** A standby has what its primary has, and can't be written. */
const isStandby = (place: Place): boolean => place !== 'other worker'

describe('a node that ails is its own trouble: group 1 fails over all the same', () => {
  let scenario: Scenario
  const cells: Cell[] = []
  const controls = new Map<Command, number>()

  beforeAll(async () => {
    scenario = await Scenario.start({
      workers: [{ standbys: [{}, {}] }, { standbys: [{}] }],
      coordinatorStandbys: [{ kind: 'standby' }, { kind: 'expand' }],
    })
  })
  afterAll(async () => {
    await scenario?.stop()
    const table = tableOf(cells, controls)
    process.stdout.write(`\n${table}\n`)
    if (process.env.CITUS_HA_MATRIX_FILE) await writeFile(process.env.CITUS_HA_MATRIX_FILE, `${table}\n`)
  })

  it.each(COMMANDS)('%s: the control, with nobody that ails', async (command) => {
    const cell = await runCell(scenario, null, 'other worker', command)
    controls.set(command, cell.tookMs)
    expect(cell, cell.ran.stdout + cell.ran.stderr).toMatchObject({ exitCode: 0, wrong: [] })
  })

  const all = NODE_AILMENTS.flatMap((ailment) =>
    PLACES.filter((place) => !(ailment.writable && isStandby(place))).flatMap((place) =>
      COMMANDS.map((command) => ({ ailment, place, command })),
    ),
  )

  it.each(all.map((each) => [each.ailment.name, each.place, each.command, each] as const))(
    '%s, %s, %s',
    async (_, place, command, { ailment }) => {
      const cell = await runCell(scenario, ailment, place, command)
      try {
        cells.push(cell)
        const said = cell.ran.stdout + cell.ran.stderr
        expect(cell.wrong, said).toEqual([])
        expect(cell.exitCode, said).toSatisfy((code: number) => code === 0 || code === 5)
        // 0 only where it was read and is right: Citus's own sync may have been there first.
        const isRight = ailment.harmless || /\): right\b/.test(cell.line)
        if (place === 'other worker') expect(cell.exitCode, said).toBe(isRight ? 0 : 5)
        if (!ailment.harmless)
          expect(cell.line, said).toContain(formatAddress(scenario.cluster.server(SERVER_AT[place])))
        if (ailment.says && !isStandby(place)) expect(cell.line).toMatch(ailment.says)
      } finally {
        await cell.heal()
      }
    },
  )
})
