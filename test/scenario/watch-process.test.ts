import { writeFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { expectRight, truthOf } from '../support/crash.ts'
import { Scenario } from '../support/scenario.ts'
import { WatchProcess } from '../support/watch-process.ts'

const INTERVAL_MS = 400
const DETECT = { interval: `${INTERVAL_MS}ms`, timeout: '800ms', cooldown: '0s' }
/** What a machine with two busy processors may add, in milliseconds. */
const SLACK_MS = 1500

describe('citus-ha watch, as a process', () => {
  let scenario: Scenario
  let running: WatchProcess[] = []
  const server = (name: string): Server => scenario.cluster.server(name)
  const copies = () => ['coordinator', 'worker-1-standby', 'worker-2'].map(server)
  const watch = async (...args: string[]): Promise<WatchProcess> => {
    const file = args.includes('--config') ? [] : ['--config', await scenario.configFile({ detect: DETECT })]
    const started = WatchProcess.start([...scenario.options, ...file, ...args])
    running.push(started)
    return started
  }
  async function failOver(): Promise<void> {
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
  }

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    await Promise.all(running.map((each) => each.stop()))
    running = []
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  describe('a good service', () => {
    it('logs JSON lines with the rules’ ids, and ends at SIGTERM with exit code 0', async () => {
      const seen = await watch()
      await seen.says('this instance leads')
      await failOver()
      const row = await seen.says(/primary-moved/)
      expect(row).toMatchObject({ event: 'row', group: 1, to: formatAddress(server('worker-1-standby')) })
      expect(seen.lines.find(({ code }) => code === 'promoted')).toMatchObject({ group: 1, rule: 'D063' })
      await seen.says(/group 1: changed/)
      await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
      seen.signal('SIGTERM')
      expect(await seen.ended()).toEqual([0, null])
      expect(seen.rest).toEqual([])
    })

    it('answers over HTTP: turns, ready, metrics and the JSON of status', async () => {
      const seen = await watch('--http', '127.0.0.1:0')
      const { msg } = await seen.says('answering http://')
      await seen.says('this instance leads')
      const base = msg.replace('answering ', '')
      const get = async (path: string) => await fetch(`${base}${path}`)
      await waitUntil('ready', async () => (await get('/readyz')).status === 200)
      expect((await get('/healthz')).status).toBe(200)
      await failOver()
      await seen.says(/group 1: changed/)
      const metrics = await (await get('/metrics')).text()
      expect(metrics).toMatch(/citus_ha_changes_total\{[^}]*outcome="changed"[^}]*\} 1/)
      await waitUntil('the new primary', async () => {
        const status = (await (await get('/status')).json()) as { groups: { group: number; code: string }[] }
        return status.groups.find(({ group }) => group === 1)?.code === 'secondary-down'
      })
    })

    it('reads its file again at SIGHUP; a bad one changes nothing, and it says why', async () => {
      const file = await scenario.configFile({ detect: DETECT })
      const seen = await watch('--config', file)
      await seen.says('this instance leads')
      await writeFile(file, 'detect: { interval: often }')
      seen.signal('SIGHUP')
      const refused = await seen.says('the configuration stays as it was')
      expect(refused.msg).toContain('detect.interval')
      await failOver()
      await seen.says(/group 1: changed/)
      await writeFile(file, stringify({ detect: { ...DETECT, interval: '300ms' }, log: { level: 'debug' } }))
      const before = seen.lines.length
      seen.signal('SIGHUP')
      expect(await seen.says('watching', before)).toMatchObject({ interval: 300 })
      await seen.says('this instance leads', before)
      expect(seen.lines.slice(before).some(({ level }) => level === 20)).toBe(true)
    })

    it('changes its log’s level at SIGUSR2', async () => {
      const seen = await watch()
      await seen.says('this instance leads')
      seen.signal('SIGUSR2')
      await seen.says('level is debug')
      await server('worker-2-standby').restart()
      await waitUntil('a debug line', () => seen.lines.some(({ level }) => level === 20))
    })

    it('ends with one clear line where the file is no good, or the port is taken', async () => {
      const bad = await watch('--config', await scenario.configFile({ detect: { interval: 'often' } }))
      expect(await bad.ended()).toEqual([2, null])
      expect(bad.rest).toEqual([])
      expect(bad.lines).toMatchObject([{ level: 50, exitCode: 2 }])
      const taken = await watch('--http', formatAddress(server('coordinator')))
      expect(await taken.ended()).toEqual([2, null])
      expect(taken.lines.at(-1)?.msg).toContain(String(server('coordinator').port))
    })
  })

  describe('several instances', () => {
    async function two(): Promise<[WatchProcess, WatchProcess]> {
      const leader = await watch()
      await leader.says('this instance leads')
      const other = await watch()
      await other.says('another instance leads')
      return [leader, other]
    }

    async function takesOver(other: WatchProcess, from: number): Promise<void> {
      await other.says('this instance leads')
      expect(performance.now() - from).toBeLessThan(3 * INTERVAL_MS + SLACK_MS)
      await other.says(/group 1: changed/)
      await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
    }

    it('one leads; when it is killed another takes over and acts', async () => {
      const [leader, other] = await two()
      const from = performance.now()
      leader.signal('SIGKILL')
      await failOver()
      await takesOver(other, from)
    })

    it('one that was stopped finds that it no longer leads before it does anything', async () => {
      const [leader, other] = await two()
      const from = performance.now()
      leader.signal('SIGSTOP')
      await failOver()
      await takesOver(other, from)
      const before = leader.lines.length
      leader.signal('SIGCONT')
      await leader.says('another instance leads', before)
      const history = await scenario.run('history', '--json')
      expect(JSON.parse(history.stdout).changes).toHaveLength(1)
      expect(leader.lines.some(({ msg }) => /changed/.test(msg))).toBe(false)
    })

    it('gives the lead up at SIGTERM', async () => {
      const [leader, other] = await two()
      const from = performance.now()
      leader.signal('SIGTERM')
      expect(await leader.ended()).toEqual([0, null])
      await failOver()
      await takesOver(other, from)
    })

    it('obeys pause and resume, all of them, and says what it would do', async () => {
      const [leader, other] = await two()
      const paused = await scenario.run('pause', '--group', '1', '--reason', 'disks are moved')
      expect(paused, paused.stderr).toMatchObject({ exitCode: 0 })
      await failOver()
      const held = await leader.says(/no action \(paused\)/)
      expect(held.msg).toContain('primary-moved')
      // Whoever leads next obeys it, too, and so it does after a restart of the coordinator.
      leader.signal('SIGTERM')
      await leader.ended()
      await server('coordinator').restart()
      await other.says('this instance leads')
      await other.says(/no action \(paused\)/)
      const history = await scenario.run('history', '--json')
      expect(JSON.parse(history.stdout).changes).toEqual([])
      const from = performance.now()
      expect(await scenario.run('resume', '--group', '1')).toMatchObject({ exitCode: 0 })
      await other.says(/group 1: changed/)
      expect(performance.now() - from).toBeLessThan(10_000)
      await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
    })
  })

  it('watch --once does what is to be done and ends; what is paused is left alone', async () => {
    await failOver()
    await scenario.run('pause')
    const paused = await scenario.run('watch', '--once', '--json')
    expect(JSON.parse(paused.stdout)).toMatchObject({ exitCode: 0, outcome: 'planned' })
    await scenario.run('resume')
    const done = await scenario.run('watch', '--once', '--json')
    expect(JSON.parse(done.stdout)).toMatchObject({ exitCode: 0, outcome: 'changed' })
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
  })
})
