import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import type { WatchEvent } from '../../src/watch/event.ts'
import { WatchService } from '../../src/watch/service.ts'
import { Scenario } from '../support/scenario.ts'

describe('a watcher that breaks', () => {
  let scenario: Scenario

  beforeAll(async () => {
    scenario = await Scenario.start({ coordinatorStandbys: [], workers: [{}] })
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** Watches with a `tell` that throws at events of these kinds. */
  async function watched(kinds: readonly WatchEvent['kind'][]): Promise<void> {
    const coordinators = scenario.options.filter((option) => option.startsWith('postgres'))
    const file = await scenario.configFile({ detect: { interval: '200ms', confirm: 1 } })
    const service = new WatchService({
      config: await loadConfig({ env: {}, file, coordinators }),
      database: scenario.cluster.database,
      env: {},
      tell: ({ kind }) => {
        if (kinds.includes(kind)) throw new Error(`no room for ${kind}`)
      },
    })
    await service.run(new AbortController().signal)
  }

  it.each<[string, readonly WatchEvent['kind'][], string]>([
    ['in a turn', ['diagnosed', 'failed'], 'no room for failed'],
    ['while it takes the lead', ['leadership'], 'no room for leadership'],
  ])('%s ends with the error, and gives up the lead', async (_, kinds, error) => {
    await expect(watched(kinds)).rejects.toThrow(error)
    const { coordinator, database } = scenario.cluster
    const sessions = `SELECT FROM pg_stat_activity WHERE application_name LIKE 'citus-ha%'`
    await waitUntil('its sessions are gone', async () => {
      return (await coordinator.query(sessions, [], { database })).length === 0
    })
  })
})
