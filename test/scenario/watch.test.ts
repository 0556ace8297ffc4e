import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { expectRight, truthOf } from '../support/crash.ts'
import { Valve } from '../support/proxy.ts'
import { Scenario } from '../support/scenario.ts'
import { Watching } from '../support/watching.ts'

describe('a watcher', () => {
  let scenario: Scenario
  let watching: Watching | null = null
  let valves: Valve[] = []
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const watch = async (file: object = {}): Promise<Watching> => {
    watching = await Watching.start(scenario, file)
    return watching
  }

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    for (const each of scenario.cluster.servers) each.thaw()
    await watching?.stop()
    watching = null
    await Promise.all(valves.map((valve) => valve.close()))
    valves = []
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** A configuration by which the watcher reaches these nodes through something that can be cut. */
  async function behind(...names: string[]): Promise<object> {
    valves = await Promise.all(names.map((name) => Valve.open(server(name))))
    const rules = names.map((name, n) => [at(name), { connect: valves[n]?.address }])
    return { addresses: Object.fromEntries(rules) }
  }

  it('notices a promotion and makes every copy right with nobody calling', async () => {
    const seen = await watch()
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    await seen.changed(1)
    await expectRight(
      scenario,
      ['coordinator', 'worker-1-standby', 'worker-2'].map(server),
      await truthOf(scenario, 'coordinator'),
    )
    const [report] = seen.changes
    expect(report).toMatchObject({ outcome: 'changed', epoch: 1 })
    expect(report?.changes[0]).toMatchObject({ kind: 'primary-moved', to: at('worker-1-standby') })
    const [noticed] = seen.of('noticed').filter(({ what }) => what === 'promoted')
    expect(noticed).toMatchObject({ node: { port: server('worker-1-standby').port } })
    expect(
      seen
        .of('diagnosed')
        .filter(({ group }) => group === 1)
        .slice(0, 2),
    ).toMatchObject([
      { code: 'healthy', was: null },
      { code: 'promoted', rule: 'D063', was: 'healthy' },
    ])
    const history = await scenario.run('history', '--json')
    expect(JSON.parse(history.stdout).changes[0].madeBy).toContain('citus-ha watch')
  })

  it('follows promotions there and back between two nodes', async () => {
    const before = await scenario.rows(server('coordinator'))
    const seen = await watch()
    let [primary, standby] = [server('worker-1'), server('worker-1-standby')]
    for (let n = 1; n <= 2; n++) {
      await primary.kill()
      await standby.promote()
      await seen.changed(2 * n - 1)
      await scenario.cluster.rejoin(primary, standby)
      await scenario.streams(primary)
      // Reads through the secondary are its own again.
      await seen.changed(2 * n)
      ;[primary, standby] = [standby, primary]
    }
    expect(seen.changes.map(({ outcome, epoch }) => [outcome, epoch])).toEqual(
      Array.from({ length: 4 }, (_, n) => ['changed', n + 1]),
    )
    await expectRight(scenario, ['coordinator', 'worker-1', 'worker-2'].map(server), before)
  })

  describe('changes nothing', () => {
    let before: unknown
    beforeEach(async () => {
      before = await scenario.footprint()
    })

    async function expectNothingDone(seen: Watching): Promise<void> {
      await seen.settled()
      await waitUntil('health', () => seen.state.groups.every(({ code }) => code === 'healthy'))
      expect(seen.changes).toEqual([])
      expect(await scenario.footprint()).toEqual(before)
    }

    const pulse = (seen: Watching, name: string) =>
      seen.state.pulses.find((each) => each.address.port === server(name).port)

    it.each(['worker-1-standby', 'worker-1', 'coordinator-standby'])('when %s is restarted', async (name) => {
      const seen = await watch({ detect: { interval: '300ms', confirm: 30 } })
      await server(name).restart()
      await waitUntil('it is back', () =>
        seen.of('noticed').some(({ what }) => what === 'back' || what === 'changed'),
      )
      await waitUntil('its pulse', () => pulse(seen, name)?.state === 'up')
      await expectNothingDone(seen)
      expect(seen.of('diagnosed').map(({ code }) => code)).toEqual(['healthy', 'healthy', 'healthy'])
    })

    it('in a storm of terminated backends', async () => {
      const seen = await watch()
      const names = ['coordinator', 'worker-1', 'worker-1-standby', 'worker-2']
      const terminate = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name LIKE 'citus-ha%' AND pid <> pg_backend_pid()`
      for (let n = 0; n < 40; n++) await Promise.all(names.map((name) => server(name).query(terminate)))
      await expectNothingDone(seen)
      expect(seen.of('diagnosed').map(({ code }) => code)).not.toContain('primary-down')
    })

    it('when a primary stands still for less than `confirm` surveys', async () => {
      const seen = await watch({ detect: { interval: '300ms', timeout: '300ms', confirm: 50 } })
      server('worker-1').freeze()
      await waitUntil('the silence', () => pulse(seen, 'worker-1')?.state === 'down')
      await seen.surveys(3)
      server('worker-1').thaw()
      await waitUntil('its pulse', () => pulse(seen, 'worker-1')?.state === 'up')
      await expectNothingDone(seen)
      expect(seen.of('diagnosed').map(({ code }) => code)).toEqual(['healthy', 'healthy', 'healthy'])
    })

    it('when one primary is cut off from us but not from the others, and says whose problem that is', async () => {
      const seen = await watch(await behind('worker-1'))
      valves[0]?.cut()
      await waitUntil('the diagnosis', () =>
        seen.of('diagnosed').find(({ code }) => code === 'primary-alive-elsewhere'),
      )
      expect(seen.of('diagnosed').at(-1)).toMatchObject({ group: 1, rule: 'D062', standing: 'refused' })
      valves[0]?.mend()
      await expectNothingDone(seen)
    })

    it('when everything is cut off from us: then nothing is known', async () => {
      const names = scenario.cluster.servers.map(({ name }) => name)
      const seen = await watch(await behind(...names.filter((name) => !name.startsWith('coordinator'))))
      for (const valve of valves) valve.cut()
      await waitUntil('the silence', () => pulse(seen, 'worker-1')?.state === 'down')
      await seen.surveys(2)
      for (const valve of valves) valve.mend()
      await expectNothingDone(seen)
    })

    it('when a primary is down and nothing is promoted: told once, after `confirm` surveys', async () => {
      const seen = await watch()
      await server('worker-1').kill()
      await waitUntil('the diagnosis', () => seen.of('diagnosed').some(({ code }) => code === 'primary-down'))
      await seen.surveys(3)
      expect(
        seen
          .of('diagnosed')
          .filter(({ group }) => group === 1)
          .map(({ code }) => code),
      ).toEqual(['healthy', 'primary-down'])
      await server('worker-1').start()
      await expectNothingDone(seen)
    })
  })

  it('changes once when a node is cut off from everybody and its standby promoted', async () => {
    const seen = await watch()
    server('worker-1').freeze()
    await server('worker-1-standby').promote()
    await seen.changed(1)
    await seen.surveys(2)
    expect(seen.changes).toHaveLength(1)
    expect(seen.changes[0]?.changes[0]).toMatchObject({ kind: 'primary-moved', to: at('worker-1-standby') })
  })

  it('does not follow an old primary that comes back writable: split-brain, then retired, until it is gone', async () => {
    const seen = await watch()
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    await seen.changed(1)
    await server('worker-1').start()
    // On a busy machine it does not answer every survey in time.
    await waitUntil('it is told', () =>
      seen.of('diagnosed').some(({ group, code }) => group === 1 && code === 'split-brain'),
    )
    const codes = () =>
      seen
        .of('diagnosed')
        .filter(({ group }) => group === 1)
        .map(({ code }) => code)
    await waitUntil('it is retired, and told of', () => codes().at(-1) === 'old-primary-writes')
    expect(codes().at(-2)).toBe('split-brain')
    expect(seen.changes).toHaveLength(1)
    await server('worker-1').kill()
    await waitUntil('it is one down', () =>
      seen.state.groups.some(({ group, code }) => group === 1 && code === 'secondary-down'),
    )
    expect(seen.changes).toHaveLength(1)
  })

  it('follows the next promotion at once, whatever `cooldown` is', async () => {
    const seen = await watch({ detect: { interval: '300ms', timeout: '600ms', cooldown: '1h' } })
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    await seen.changed(1)
    await scenario.cluster.rejoin(server('worker-1'), server('worker-1-standby'))
    await scenario.streams(server('worker-1'))
    await server('worker-1-standby').kill()
    await server('worker-1').promote()
    await seen.changed(2)
    const rested = seen.of('held').filter(({ why }) => why === 'cooldown')
    expect(rested.filter(({ would }) => would.join().includes('primary-moved'))).toEqual([])
    const row = `2 group 1 primary ${formatAddress(server('worker-1'))}`
    for (const name of ['coordinator', 'worker-1', 'worker-2'])
      expect(await scenario.rows(server(name))).toContain(row)
  })

  it('goes on when the coordinator is gone, finds its promoted standby, and follows', async () => {
    const seen = await watch()
    await server('coordinator').kill()
    await waitUntil('it is told', () => seen.of('failed').length > 0)
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    await waitUntil('workers are watched meanwhile', () =>
      seen
        .of('noticed')
        .some(({ what, node }) => what === 'promoted' && node.port === server('worker-1-standby').port),
    )
    expect(seen.changes).toEqual([])
    await server('coordinator-standby').promote()
    await waitUntil(
      'the change',
      () =>
        seen.changes.flatMap((report) => report.changes).filter(({ kind }) => kind === 'primary-moved')
          .length >= 2,
    )
    expect(seen.of('coordinator').at(-1)).toMatchObject({
      node: { port: server('coordinator-standby').port },
    })
    await expectRight(
      scenario,
      ['coordinator-standby', 'worker-1-standby', 'worker-2'].map(server),
      await truthOf(scenario, 'coordinator-standby'),
    )
    expect(seen.state.leadership).toBe('leading')
  })
})
