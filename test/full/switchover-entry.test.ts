import { describe, expect, it } from 'vitest'
import { standin } from '../support/clients.ts'
import { restoredBeforeEach, type Switching } from '../support/switching.ts'

/**
 * Of the server, to a statement that waited at the old primary; what is sent there later is refused, and at the end its
 * sessions are ended, which the driver tells of in words of its own.
 */
const CUT_OFF =
  /terminating connection due to administrator command|in a read-only transaction|connection not open|connection error and is not queryable|Connection terminated/

describe.skipIf(standin)('a switchover, for clients of the server that is switched itself', () => {
  let switching: Switching
  restoredBeforeEach((made) => {
    switching = made
  })

  it('fails a write of each session or two, which are not made, and a read at the end; others see nothing', async () => {
    const both = 'worker-1 or worker-1-standby'
    const running = await switching.clients(['coordinator', both, 'worker-2'])
    const { report } = await switching.switched('--group', '1')
    expect(report.cutOff.length).toBeGreaterThan(0)
    await running.goesOn()
    await running.stop()
    const cut = running.failuresAt(both)
    expect(running.failures.length, running.failures.join('; ')).toBe(cut.length)
    for (const failure of cut) expect(failure).toMatch(CUT_OFF)
    // Once more where it has come to the new primary before the change was made.
    for (const writer of running.writers) expect(writer.failures.length).toBeLessThanOrEqual(2)
    // It loses its connection with the old primary, and has another at once.
    for (const reader of running.readers) expect(reader.failures.length).toBeLessThanOrEqual(1)
    const { coordinator } = switching.scenario.cluster
    expect(await running.missing(coordinator)).toEqual([])
    expect(await running.halves(coordinator)).toEqual([])
    expect(await running.surplus(coordinator)).toEqual([])
  })

  it('makes none of theirs that would be rolled back, whoever stays at the old primary', async () => {
    const { coordinator } = switching.scenario.cluster
    const running = await switching.clients(['coordinator', 'worker-2'])
    // Citus’s COPY asks nobody whether the server is read-only.
    const { report } = await switching.switched('--group', '2')
    expect(report.outcome).toBe('switched')
    await running.stop()
    expect(running.failures.length).toBe(running.failuresAt('worker-2').length)
    expect(await running.missing(coordinator)).toEqual([])
    expect(await running.halves(coordinator)).toEqual([])
    await switching.expectNoIntent()
  })

  it('fails no more than that where it comes to nothing: they go on where they were', async () => {
    const both = 'worker-1 or worker-1-standby'
    const running = await switching.clients([both, 'worker-2'])
    const { exitCode } = await switching.switchover('--group', '1', '--promote-command', 'false')
    expect(exitCode).toBe(4)
    await switching.expectUntouched()
    await running.goesOn()
    await running.stop()
    expect(running.failures.length, running.failures.join('; ')).toBe(running.failuresAt(both).length)
    for (const writer of running.writers) expect(writer.failures.length).toBeLessThanOrEqual(1)
    expect(await running.missing(switching.scenario.cluster.coordinator)).toEqual([])
  })

  it('does the same with the coordinator and its clients', async () => {
    const both = 'coordinator or coordinator-standby'
    const running = await switching.clients([both, 'worker-2'])
    await switching.switched('--group', '0', '--to', switching.at('coordinator-standby'))
    await running.goesOn()
    await running.stop()
    const cut = running.failuresAt(both)
    expect(running.failures.length, running.failures.join('; ')).toBe(cut.length)
    for (const failure of cut) expect(failure).toMatch(CUT_OFF)
    for (const writer of running.writers) expect(writer.failures.length).toBeLessThanOrEqual(2)
    const promoted = switching.server('coordinator-standby')
    expect(await running.missing(promoted)).toEqual([])
    expect(await running.halves(promoted)).toEqual([])
    expect(await running.surplus(promoted)).toEqual([])
  })
})
