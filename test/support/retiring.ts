import { expect } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { killedAt, sentIsDone } from './crash.ts'
import { citusHa, type Scenario } from './scenario.ts'

/** A way in which the old primary of a group comes to run on beside its successor. */
export interface Way {
  readonly name: string
  /** @param old runs on */
  readonly retire: (scenario: Scenario, group: number, old: Server, primary: Server) => Promise<void>
}

async function exits(scenario: Scenario, code: number, ...args: string[]): Promise<void> {
  const ran = await scenario.run(...args)
  expect(ran, ran.stdout + ran.stderr).toMatchObject({ exitCode: code })
}

const switched = (scenario: Scenario, group: number) =>
  exits(scenario, 0, 'switchover', '--yes', '--group', `${group}`)

async function vouched(scenario: Scenario, group: number, primary: Server): Promise<void> {
  await primary.promote()
  await exits(scenario, 0, 'reconcile', '--group', `${group}`, '--promoted', formatAddress(primary))
}

async function diedAt(scenario: Scenario, group: number, step: string): Promise<void> {
  const args = ['switchover', ...scenario.options, '--group', `${group}`, '--yes']
  expect(await killedAt(step, args)).toBe('SIGKILL')
  await sentIsDone(scenario)
}

export const WAYS: readonly Way[] = [
  { name: 'by a switchover', retire: (scenario, group) => switched(scenario, group) },
  {
    name: 'by a switchover, and started anew',
    retire: async (scenario, group, old) => {
      await switched(scenario, group)
      await old.restart()
    },
  },
  {
    name: 'by a switchover that died when it had promoted',
    retire: (scenario, group) => diedAt(scenario, group, 'promoted'),
  },
  {
    name: 'by a switchover that died when it had decided, and a later run',
    retire: async (scenario, group) => {
      await diedAt(scenario, group, 'decided')
      await exits(scenario, 0, 'reconcile')
    },
  },
  {
    name: 'by a change that somebody vouched for, while it takes writes',
    retire: (scenario, group, _, primary) => vouched(scenario, group, primary),
  },
  {
    name: 'by such a change, and started anew',
    retire: async (scenario, group, old, primary) => {
      await vouched(scenario, group, primary)
      await old.restart()
    },
  },
  {
    name: 'by an event of a tool that left it running',
    retire: async (scenario, _, __, primary) => {
      await primary.promote()
      const ran = await citusHa(['event', 'promoted', ...scenario.options, formatAddress(primary)])
      expect(ran, ran.stdout + ran.stderr).toMatchObject({ exitCode: 0 })
    },
  },
]
