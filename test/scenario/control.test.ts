import { writeFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { standin } from '../support/clients.ts'
import { Controller, TOKEN } from '../support/control.ts'
import { expectRight, leftPrepared, truthOf } from '../support/crash.ts'
import { citusHa, client, Scenario } from '../support/scenario.ts'
import { WatchProcess } from '../support/watch-process.ts'

const DETECT = { interval: '400ms', timeout: '800ms', cooldown: '0s' }
/** Citus's shard-metadata locks in a mode that writers wait for: of a pause, or of lock_shard_metadata before it. */
const SHARD_LOCKS = `SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 8
  AND mode IN ('AccessExclusiveLock', 'ExclusiveLock')`
const CONTROL = { listen: '127.0.0.1:0', token: TOKEN }

describe('orders to a watcher over HTTP', () => {
  let scenario: Scenario
  let running: WatchProcess[] = []
  let controllers: Controller[] = []
  const checked = new Map<string, number>()
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))
  const copies = () => ['coordinator', 'worker-1-standby', 'worker-2'].map(server)

  async function watch(file: object = { control: CONTROL }): Promise<WatchProcess> {
    const config = await scenario.configFile({ detect: DETECT, ...file })
    return watchBy(config)
  }
  function watchBy(config: string): WatchProcess {
    const started = WatchProcess.start([...scenario.options, '--config', config])
    running.push(started)
    return started
  }
  async function controllerOf(started: WatchProcess, from = 0): Promise<Controller> {
    const controller = await Controller.of(started, from)
    controllers.push(controller)
    return controller
  }
  /** A watcher that leads, and who gives it orders. */
  async function start(): Promise<{ watching: WatchProcess; controller: Controller }> {
    const watching = await watch()
    await watching.says('this instance leads')
    return { watching, controller: await controllerOf(watching) }
  }
  /** Somebody keeps every change from its locks until he ends. */
  async function inTheWay() {
    const session = await client(server('coordinator'), scenario.cluster.database)
    await session.query('BEGIN; LOCK TABLE pg_dist_node IN SHARE MODE')
    return session
  }
  const inApp = { database: 'app' }
  const history = async () => JSON.parse((await scenario.run('history', '--json')).stdout).changes

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterEach(async () => {
    for (const controller of controllers) {
      controller.stop()
      for (const [operation, count] of controller.checked)
        checked.set(operation, count + (checked.get(operation) ?? 0))
    }
    await Promise.all(running.map((each) => each.stop()))
    running = []
    controllers = []
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('a promotion that is still to come is waited for, and then written on every copy', async () => {
    const { watching, controller } = await start()
    const events = await controller.events()
    const paused = await controller.post('/v1/pause', { reason: 'nothing by itself' })
    expect(paused).toMatchObject({ status: 200, body: { databases: [{ changed: true, group: null }] } })
    await server('worker-1').kill()
    const asked = controller.post('/v1/groups/1/promoted', { node: at('worker-1-standby'), wait: '30s' })
    await watching.says('waiting for the promotion')
    await server('worker-1-standby').promote()
    const { status, body } = await asked
    expect(status).toBe(200)
    expect(body).toMatchObject({
      outcome: 'changed',
      exitCode: 0,
      database: 'app',
      databases: [{ exitCode: 0 }],
    })
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
    const acted = await controller.hears(events, { kind: 'acted' })
    expect(acted).toMatchObject({ groups: [1], report: { outcome: 'changed', epoch: body.epoch } })
    await controller.hears(events, { kind: 'diagnosed', group: 1, code: 'promoted' })
    await controller.hears(events, { kind: 'held', group: 1, why: 'paused' })
    const changes = await history()
    expect(changes).toHaveLength(1)
    expect(changes[0].madeBy).toMatch(/asked over HTTP by 127\.0\.0\.1/)
    expect(await controller.get('/v1/history')).toEqual({ status: 200, body: { changes } })
    await watching.says('POST /v1/groups/1/promoted from 127.0.0.1: changed')
  })

  it('what the evidence does not allow is refused, and what is in the way is named', async () => {
    const { controller } = await start()
    await controller.post('/v1/pause', {})
    const recovering = await controller.post('/v1/groups/1/promoted', {
      node: at('worker-1-standby'),
      wait: '0s',
    })
    expect(recovering).toMatchObject({
      status: 200,
      body: { outcome: 'refused', exitCode: 3, refusals: [{ group: 1 }] },
    })
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const before = await scenario.footprint()
    const blocker = await inTheWay()
    const order = { promoted: at('worker-1-standby'), group: 1, timeout: '600ms' }
    const blocked = await controller.post('/v1/reconcile', order)
    await blocker.end()
    expect(blocked).toMatchObject({ status: 200, body: { outcome: 'blocked', exitCode: 4 } })
    expect(blocked.body.blockers).toContainEqual(
      expect.objectContaining({ application: expect.any(String), ours: false }),
    )
    const planned = await controller.post('/v1/reconcile', { dryRun: true })
    expect(planned).toMatchObject({ status: 200, body: { outcome: 'planned', exitCode: 0 } })
    expect(planned.body.sql.length).toBeGreaterThan(1)
    expect(await scenario.footprint()).toEqual(before)
    expect(await controller.post('/v1/reconcile', {})).toMatchObject({ body: { outcome: 'changed' } })
    expect(await controller.post('/v1/reconcile', {})).toMatchObject({
      body: { outcome: 'converged', exitCode: 0 },
    })
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
  })

  it('what is not there is not found, and nothing is changed', async () => {
    const { controller } = await start()
    const before = await scenario.footprint()
    const error = 'there is no group 7; pg_dist_node has 0, 1, 2'
    const wrong = { status: 400, body: { error, code: 'usage', exitCode: 2 } }
    expect(await controller.post('/v1/reconcile', { group: 7 })).toEqual(wrong)
    expect(await controller.post('/v1/groups/7/promoted', { node: at('worker-2') })).toEqual(wrong)
    expect(await controller.post('/v1/pause', { group: 7 })).toEqual(wrong)
    expect(await controller.post('/v1/resume', { group: 7 })).toEqual(wrong)
    const nowhere = await controller.post('/v1/reconcile', { database: 'nosuch' })
    expect(nowhere).toMatchObject({
      status: 400,
      body: { error: 'the database nosuch is not watched; these are: app' },
    })
    expect(await controller.get('/v1/history?database=nosuch')).toMatchObject({ status: 400 })
    expect(await scenario.footprint()).toEqual(before)
  })

  it('pause and resume are those of the commands', async () => {
    const { controller } = await start()
    const first = await controller.post('/v1/pause', { group: 1, reason: 'disks' })
    const again = JSON.parse((await scenario.run('pause', '--group', '1', '--json')).stdout)
    expect(first.body.databases).toEqual([{ ...again.databases[0], changed: true }])
    expect(first.body.databases[0].pause.by).toMatch(
      /^citus-ha \(asked over HTTP by 127\.0\.0\.1\) as citus_ha from/,
    )
    expect(await controller.post('/v1/resume', { group: 1 })).toMatchObject({
      status: 200,
      body: { databases: [{ changed: true, pause: { group: 1, why: 'disks' }, pauses: [] }] },
    })
    expect(await controller.post('/v1/resume', {})).toMatchObject({
      body: { databases: [{ changed: false, pause: null }] },
    })
  })

  it('an instance that does not lead carries them out as well', async () => {
    await start()
    const other = await watch()
    await other.says('another instance leads')
    const controller = await controllerOf(other)
    await controller.post('/v1/pause', {})
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const done = await controller.post('/v1/groups/1/promoted', { node: at('worker-1-standby') })
    expect(done).toMatchObject({ status: 200, body: { outcome: 'changed' } })
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
  })

  it('whoever hangs up ends nothing: the walk that he asked for goes on', async () => {
    const { watching, controller } = await start()
    await controller.post('/v1/pause', {})
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const blocker = await inTheWay()
    const hangUp = new AbortController()
    const order = { promoted: at('worker-1-standby'), timeout: '30s' }
    const asked = controller.post('/v1/reconcile', order, hangUp.signal).catch((error: Error) => error.name)
    await watching.says('trying again')
    hangUp.abort()
    expect(await asked).toBe('AbortError')
    await blocker.end()
    await watching.says('POST /v1/reconcile from 127.0.0.1: changed, but the client has disconnected')
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
  })

  it('SIGTERM ends a walk that was asked for, and nothing was left unfinished', async () => {
    const { watching, controller } = await start()
    await controller.post('/v1/pause', {})
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const before = await scenario.footprint()
    const blocker = await inTheWay()
    const asked = controller.post('/v1/reconcile', { promoted: at('worker-1-standby'), timeout: '1m' })
    await watching.says('trying again')
    watching.signal('SIGTERM')
    expect(await asked).toMatchObject({ status: 503, body: { code: 'interrupted', exitCode: 4 } })
    expect(await watching.ended()).toEqual([0, null])
    await blocker.end()
    expect(await scenario.footprint()).toEqual(before)
    expect(await leftPrepared(scenario)).toEqual([])
    expect(watching.rest).toEqual([])
  })

  it('SIGHUP: another token, another address, none at all; a bad section changes nothing', async () => {
    const config = await scenario.configFile({ detect: DETECT, control: CONTROL })
    const become = async (control: object | null) => {
      await writeFile(config, stringify({ detect: DETECT, ...(control && { control }) }))
      watching.signal('SIGHUP')
    }
    const watching = watchBy(config)
    const first = await controllerOf(watching)
    const events = await first.events()
    await become({ listen: '0.0.0.0:0', token: TOKEN })
    expect(await watching.says('the configuration stays as it was')).toMatchObject({
      msg: expect.stringContaining('control.listen'),
    })
    await become({ ...CONTROL, tokenFile: '/nonexistent' })
    await watching.says('not both')
    const unread = watching.lines.length
    await become({ listen: CONTROL.listen, tokenFile: '/nonexistent/token' })
    await watching.says('/nonexistent/token: no such file', unread)
    expect(await first.get('/v1/history')).toMatchObject({ status: 200 })

    const same = watching.lines.length
    await become(CONTROL)
    await watching.says('read again', same)
    await first.hears(events, { kind: 'database', now: 'gone' })
    expect(watching.lines.slice(same).some(({ msg }) => msg.includes('taking orders'))).toBe(false)

    const port = Number(new URL(first.base).port)
    const here = { listen: `127.0.0.1:${port}`, token: TOKEN }
    const none = watching.lines.length
    await become(null)
    await watching.says('read again', none)
    await expect(fetch(`${first.base}/v1/history`)).rejects.toThrow()
    await become(here)
    const second = await controllerOf(watching, none)
    expect(second.base).toBe(first.base)
    const other = watching.lines.length
    await become({ ...here, token: 'the-next-token-of-enough-characters' })
    await watching.says('taking orders', other)
    await watching.says('read again', other)
    expect(await second.get('/v1/history')).toMatchObject({ status: 401 })
    second.token = 'the-next-token-of-enough-characters'
    await waitUntil('it is watched again', async () => (await second.get('/v1/history')).status === 200)
  })

  // The stand-in has no shards, and so no locks of theirs.
  it.skipIf(standin)('fences a group for the command that asks; its change happens inside', async () => {
    const { watching, controller } = await start()
    const events = await controller.events()
    const config = await scenario.configFile({
      control: { connect: { url: controller.base }, token: TOKEN },
    })
    const order = (...args: string[]) => citusHa([...args, '--config', config, ...scenario.options])
    const locks = async () => await server('worker-2').query(SHARD_LOCKS, [], inApp)
    const fenced = await order('fence', '--group', '1', '--ttl', '20s', '--json')
    expect(fenced, fenced.stderr).toMatchObject({ exitCode: 0 })
    expect(JSON.parse(fenced.stdout)).toMatchObject({ outcome: 'fenced', groups: [1], exitCode: 0 })
    expect(await locks()).not.toEqual([])
    await controller.hears(events, { kind: 'fence', group: 1, now: 'held' })
    expect(await controller.post('/v1/groups/1/fence', { ttl: '20s' })).toMatchObject({
      status: 200,
      body: { outcome: 'renewed' },
    })
    const released = await order('release', '--group', '1')
    expect(released).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/group 1 in app: released after/),
    })
    expect(await locks()).toEqual([])
    expect(await controller.post('/v1/release', { group: 1 })).toMatchObject({
      status: 200,
      body: { released: false },
    })

    expect(await order('fence', '--group', '1', '--ttl', '20s')).toMatchObject({ exitCode: 0 })
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const promoted = { node: at('worker-1-standby') }
    expect(await controller.post('/v1/groups/1/promoted', promoted)).toMatchObject({ status: 200 })
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
    await watching.says(/fence/)
    expect(await locks()).toEqual([])

    watching.signal('SIGTERM')
    await watching.ended()
    const alone = await order('fence', '--group', '1')
    expect(alone).toMatchObject({
      exitCode: 4,
      stderr: expect.stringMatching(/a fence needs a running "citus-ha watch"/),
    })
  })

  it.each([
    ['nobody has to show who he is', {}, /control: expected token, tokenFile or tls\.clientCa/],
    [
      'anybody could read the token',
      { listen: '0.0.0.0:8009', token: TOKEN },
      /control\.listen: expected tls/,
    ],
    ['there is no such file', { tokenFile: '/nonexistent/token' }, /\/nonexistent\/token: no such file/],
  ])('does not start where %s', async (_, control, expected) => {
    const watching = await watch({ control })
    expect(await watching.ended()).toEqual([2, null])
    expect(watching.rest).toEqual([])
    expect(watching.lines.at(-1)).toMatchObject({
      level: 50,
      msg: expect.stringMatching(expected),
      exitCode: 2,
    })
  })

  it('what its role has no right to, and a schema that is gone, is nothing that a second try mends', async () => {
    const { watching, controller } = await start()
    const { coordinator } = scenario.cluster
    await coordinator.query(
      'REVOKE EXECUTE ON FUNCTION citus_ha.pause_changes(int, text, text) FROM citus_ha',
      [],
      inApp,
    )
    expect(await controller.post('/v1/pause', {})).toMatchObject({
      status: 409,
      body: { code: 'configuration', exitCode: 2, error: expect.stringContaining('permission denied') },
    })
    expect(await scenario.run('pause')).toMatchObject({ exitCode: 2 })
    await coordinator.query('DROP SCHEMA citus_ha CASCADE', [], inApp)
    const gone = await controller.get('/v1/history')
    expect(gone).toMatchObject({ status: 409, body: { code: 'not-installed', exitCode: 2 } })
    expect(watching.lines.filter(({ msg }) => msg.includes(': 500'))).toEqual([])
  })

  it('takes no orders where nobody said so', async () => {
    const watching = await watch({})
    await watching.says('this instance leads')
    expect(watching.lines.some(({ msg }) => msg.includes('taking orders'))).toBe(false)
  })

  it('every answer above was held against the document', () => {
    const named = [
      'get /v1/history 200',
      'get /v1/history 400',
      'get /v1/history 401',
      'get /v1/history 409',
      'post /v1/groups/{group}/promoted 200',
      'post /v1/groups/{group}/promoted 400',
      'post /v1/pause 200',
      'post /v1/pause 400',
      'post /v1/pause 409',
      'post /v1/reconcile 200',
      'post /v1/reconcile 400',
      'post /v1/reconcile 503',
      'post /v1/resume 200',
      'post /v1/resume 400',
      ...(standin ? [] : ['post /v1/groups/{group}/fence 200', 'post /v1/release 200']),
    ]
    // While a file is read again, some are answered with 503 as well.
    expect([...checked.keys()]).toEqual(expect.arrayContaining(named))
  })
})
