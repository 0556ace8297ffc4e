import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { diagnose, plan, reconcile, survey, watch } from '../../src/index.ts'
import { formatAddress } from '../../src/model/node.ts'
import type { WatchEvent } from '../../src/watch/event.ts'
import { expectRight, truthOf } from '../support/crash.ts'
import { client, Scenario } from '../support/scenario.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

describe('citus-ha as a library', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const copies = () => ['coordinator', 'worker-1-standby', 'worker-2'].map(server)
  const cluster = (signal = new AbortController().signal) => ({
    coordinators: [server('coordinator').url(scenario.cluster.database, 'citus_ha')],
    env: { HOME: '/nonexistent' },
    signal,
  })
  async function failOver(): Promise<void> {
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
  }
  /** Connections of ours that are open, on all servers. */
  async function connections(): Promise<number> {
    const sql = `SELECT FROM pg_stat_activity WHERE application_name = 'citus-ha'`
    const servers = scenario.cluster.servers.filter((each) => each.isRunning)
    return (await Promise.all(servers.map((each) => each.query(sql)))).flat().length
  }

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('the example of its page compiles against the package’s types, and does what it says', async () => {
    const page = await readFile(join(ROOT, 'docs/library.md'), 'utf8')
    const example = /```ts\n([\s\S]*?)```/.exec(page)?.[1] ?? ''
    const here = example
      .replace('postgres://citus_ha@cn1.example/app', cluster().coordinators[0] ?? '')
      .replace('w1b.example:5432', at('worker-1-standby'))
    expect(here).not.toContain('.example')
    const directory = join(scenario.cluster.directory, 'library')
    await mkdir(join(directory, 'node_modules'), { recursive: true })
    await symlink(ROOT, join(directory, 'node_modules', 'citus-ha'))
    await writeFile(join(directory, 'package.json'), '{ "type": "module" }')
    await writeFile(join(directory, 'example.ts'), here)
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    const strict =
      '--strict --exactOptionalPropertyTypes --module nodenext --target es2022 --skipLibCheck'.split(' ')
    const typed = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types'), 'example.ts']
    await promisify(execFile)(process.execPath, [tsc, ...strict, ...typed], { cwd: directory })

    await failOver()
    const env = { PATH: process.env.PATH, HOME: '/nonexistent' }
    const child = spawn(process.execPath, ['example.js'], {
      cwd: directory,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const exited = once(child, 'exit')
    let said = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text
      })
    }
    try {
      await waitUntil('it watches', () => /^group 1 is /m.test(said) || child.exitCode !== null)
      child.kill('SIGTERM')
      expect(await exited, said).toEqual([0, null])
    } finally {
      child.kill('SIGKILL')
      await rm(directory, { recursive: true, force: true })
    }
    expect(said).toMatch(/^group 1: promoted: /m)
    expect(said).toContain(`${at('worker-1')} -> ${at('worker-1-standby')}: `)
    expect(said).toMatch(/^app: changed$/m)
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
  })

  it('surveys without a change, reconciles, and leaves no connection', async () => {
    await failOver()
    const before = await scenario.footprint()
    const seen = await survey(cluster())
    const { changes } = plan(seen, diagnose(seen))
    expect(changes).toContainEqual(
      expect.objectContaining({ group: 1, kind: 'primary-moved', to: at('worker-1-standby') }),
    )
    const planned = await reconcile({ ...cluster(), mode: 'dry-run' })
    expect(planned).toMatchObject([{ database: 'app', outcome: 'planned' }])
    expect(await scenario.footprint()).toEqual(before)
    const lines: string[] = []
    const log = { info: (line: string) => lines.push(line), warn: (line: string) => lines.push(line) }
    const blocker = await client(server('coordinator'), scenario.cluster.database)
    await blocker.query('BEGIN; LOCK TABLE pg_dist_node IN SHARE MODE')
    const order = { ...cluster(), group: 1, madeBy: 'a test', log }
    const blocked = await reconcile({ ...order, timeoutMs: 2000 })
    expect(blocked).toMatchObject([{ outcome: 'blocked' }])
    expect(lines.join('\n')).toContain('trying again')

    const stop = new AbortController()
    const reason = new Error('enough')
    const enough = { ...log, info: (line: string) => line.includes('trying again') && stop.abort(reason) }
    const interrupted = reconcile({ ...order, log: enough, signal: stop.signal, timeoutMs: 60_000 })
    await expect(interrupted).rejects.toBe(reason)
    await blocker.end()
    expect(await reconcile(order)).toMatchObject([{ outcome: 'changed' }])
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
    const history = JSON.parse((await scenario.run('history', '--json')).stdout).changes
    expect(history).toMatchObject([{ madeBy: expect.stringContaining('a test') }])
    await waitUntil('no connection is left', async () => (await connections()) === 0)
  })

  it('watches until the signal, whatever its listener does', async () => {
    const stop = new AbortController()
    const events: WatchEvent[] = []
    const warnings: string[] = []
    const settings = { detect: { interval: '300ms', timeout: '600ms', cooldown: '0s' } }
    const watching = watch({
      ...cluster(stop.signal),
      settings,
      log: { info: () => undefined, warn: (line) => warnings.push(line) },
      onEvent: (event) => {
        events.push(event)
        if (event.kind === 'noticed') throw new Error('oops')
      },
    })
    await waitUntil('it leads', () =>
      events.some((event) => event.kind === 'leadership' && event.now === 'leading'),
    )
    await failOver()
    await waitUntil('it acts', () =>
      events.some((event) => event.kind === 'acted' && event.report.outcome === 'changed'),
    )
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
    stop.abort()
    expect(await watching).toBeUndefined()
    expect(warnings).toContain('onEvent failed: oops')
    await waitUntil('no connection is left', async () => (await connections()) === 0)
  })
})
