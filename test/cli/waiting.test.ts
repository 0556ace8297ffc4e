import { once } from 'node:events'
import { type AddressInfo, createServer, type Server as Listener } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import { start } from '../support/program.ts'
import { Scenario } from '../support/scenario.ts'
import { atTerminal } from '../support/terminal.ts'

const CLEAR_LINE = '\r\u001b[K'

describe('a node that takes connections and says nothing', () => {
  let scenario: Scenario
  let silent: Listener
  let config: string
  let at: string
  const line = () => `waiting for ${at} (2 s at most)`

  beforeAll(async () => {
    scenario = await Scenario.start({ coordinatorStandbys: [], workers: [{ standbys: [] }] })
    silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    at = `127.0.0.1:${(silent.address() as AddressInfo).port}`
    config = await scenario.configFile({
      coordinators: [{ url: scenario.cluster.coordinator.url(scenario.cluster.database, 'citus_ha') }],
      standbys: [{ group: 1, address: at }],
    })
  })
  afterAll(async () => {
    silent?.close()
    await scenario?.stop()
  })

  it.each(['status', 'doctor'])(
    '%s shows on a terminal whom it waits for, and takes that away',
    async (command) => {
      const terminal = atTerminal(command, '--config', config)
      await terminal.shows(line())
      await terminal.ended()
      const [, after = ''] = terminal.shown().split(line())
      expect(after.startsWith(CLEAR_LINE)).toBe(true)
      expect(after.split(CLEAR_LINE).at(-1)).not.toContain('waiting for')
    },
  )

  it('says nothing of it with -q, nor where nobody looks; with -v it is a line, and so is each connection', async () => {
    const quiet = atTerminal('status', '-q', '--config', config)
    await quiet.ended()
    expect(quiet.shown()).not.toContain('waiting for')
    const ran = async (...flags: string[]) => {
      const program = start('status', ...flags, '--config', config)
      const { code } = await program.ended()
      return { code, stdout: program.stdout(), stderr: program.stderr() }
    }
    const [usual, verbose] = [await ran(), await ran('-v')]
    expect(usual.stderr).toBe('')
    expect({ ...verbose, stderr: '' }).toEqual(usual)
    expect(verbose.stderr).toContain(`${line()}\n`)
    expect(verbose.stderr).toMatch(
      new RegExp(`^${at} failed after [12]\\d{3}\\.\\d ms: no answer .*\\(user citus_ha, `, 'm'),
    )
    const { coordinator, database } = scenario.cluster
    expect(verbose.stderr).toMatch(
      new RegExp(
        `^${coordinator.host}:${coordinator.port} answered after [\\d.]+ ms \\(user citus_ha, database ${database}, no TLS, sslmode prefer\\)$`,
        'm',
      ),
    )
  })

  it('is no more than its line when somebody interrupts', async () => {
    const terminal = atTerminal('history', '--coordinator', `postgres://citus_ha@${at}/app`)
    await waitUntil('it waits', () => terminal.shown().includes('waiting for'))
    terminal.type('\u0003')
    expect(await terminal.ended()).toBe(130)
    expect(terminal.shown().split(CLEAR_LINE).at(-1)).toMatch(/^citus-ha: interrupted/)
  })
})
