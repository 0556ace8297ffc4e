import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { start } from '../support/program.ts'
import type { Scenario } from '../support/scenario.ts'
import { Switching } from '../support/switching.ts'
import { atTerminal } from '../support/terminal.ts'

const QUESTION = 'Continue? [y/N]'

describe('a switchover that somebody at a terminal asks for', () => {
  let switching: Switching
  let scenario: Scenario
  const command = () => ['switchover', ...scenario.options, '--group', '1']

  beforeAll(async () => {
    switching = await Switching.start({ coordinatorStandbys: [] })
    scenario = switching.scenario
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it.each([
    ['n', 'n\r', 4, 'blocked: nothing was changed'],
    ['Enter alone', '\r', 4, 'it was not confirmed'],
    ['the end of input', '\x04', 4, 'it was not confirmed'],
    ['Ctrl-C', '\x03', 130, ''],
  ])('does nothing after %s', async (_, keys, exitCode, told) => {
    const before = await scenario.footprint()
    const terminal = atTerminal(...command())
    await terminal.shows(QUESTION)
    expect(terminal.shown()).toContain(`${switching.at('worker-1-standby')} becomes the primary`)
    terminal.type(keys)
    expect(await terminal.ended(), terminal.shown()).toBe(exitCode)
    expect(terminal.shown()).toContain(told)
    expect(await scenario.footprint()).toEqual(before)
    await switching.expectUntouched()
  })

  it('asks nobody where there is no terminal: it wants --yes', async () => {
    const program = start(...command())
    expect(await program.ended()).toMatchObject({ code: 2 })
    expect(program.stderr()).toBe('citus-ha: there is no terminal to ask for confirmation: give --yes\n')
    await switching.expectUntouched()
  })

  it('goes on after y with a standby that was started anew meanwhile', async () => {
    const terminal = atTerminal(...command())
    await terminal.shows(QUESTION)
    await switching.server('worker-1-standby').restart()
    await scenario.streams(switching.server('worker-1-standby'))
    terminal.type('y\r')
    expect(await terminal.ended(), terminal.shown()).toBe(0)
    await switching.expectPrimary(2, 'worker-1-standby', { copies: ['worker-2'] })
    await scenario.restore()
  })

  it('goes on after y', async () => {
    const terminal = atTerminal(...command())
    await terminal.shows(QUESTION)
    terminal.type('y\r')
    expect(await terminal.ended(), terminal.shown()).toBe(0)
    expect(terminal.shown()).toContain('switched: every copy was verified')
    await switching.expectPrimary(2, 'worker-1-standby', { copies: ['worker-2'] })
  })
})
