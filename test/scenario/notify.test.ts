import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { expectRight, truthOf } from '../support/crash.ts'
import { samplesOf } from '../support/exposition.ts'
import { Receiver } from '../support/receiver.ts'
import { Scenario } from '../support/scenario.ts'
import { WatchProcess } from '../support/watch-process.ts'

const DETECT = { interval: '400ms', timeout: '800ms', cooldown: '0s' }
const SECRET = 'a-secret-of-enough-characters'

describe('a watcher that tells others', () => {
  let scenario: Scenario
  let receiver: Receiver
  let running: WatchProcess[] = []
  const server = (name: string): Server => scenario.cluster.server(name)
  const copies = () => ['coordinator', 'worker-1-standby', 'worker-2'].map(server)
  const webhooks = () => [{ url: receiver.url, secret: SECRET }]

  async function watch(notify: object): Promise<WatchProcess> {
    return watchBy(await scenario.configFile({ detect: DETECT, notify }))
  }
  function watchBy(config: string): WatchProcess {
    const started = WatchProcess.start([...scenario.options, '--config', config, '--http', '127.0.0.1:0'])
    running.push(started)
    return started
  }
  async function failOver(): Promise<void> {
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
  }
  const told = (event: string) => receiver.documents.filter((document) => document.event === event)

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
    receiver = await Receiver.start()
  })
  afterEach(async () => {
    await Promise.all(running.map((each) => each.stop()))
    running = []
    await receiver.stop()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('a webhook and a command hear of a failover; two watchers tell of it once', async () => {
    const out = join(scenario.cluster.directory, 'told')
    const script = join(scenario.cluster.directory, 'tell.sh')
    await writeFile(script, `#!/bin/sh\nexec cat >> '${out}'\n`, { mode: 0o755 })
    const leader = await watch({ webhooks: webhooks(), command: [script] })
    await leader.says('this instance leads')
    const other = await watch({ webhooks: webhooks() })
    await other.says('another instance leads')
    await failOver()
    await waitUntil('all of it was told', () => {
      const codes = told('diagnosed').map(({ data }) => data.code)
      return told('acted').length > 0 && codes.at(-1) !== 'promoted'
    })
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
    const to = formatAddress(server('worker-1-standby'))
    expect(told('acted')).toMatchObject([{ data: { groups: [1], report: { outcome: 'changed' } } }])
    expect(told('acted')[0]?.text).toContain(`primary-moved ${formatAddress(server('worker-1'))} -> ${to}`)
    const promoted = told('diagnosed').filter(({ data }) => data.code === 'promoted')
    expect(promoted).toMatchObject([{ data: { group: 1, rule: 'D063' } }])
    await waitUntil('the command has the same', async () => {
      const text = await readFile(out, 'utf8').catch(() => '')
      return receiver.received.every(({ body }) => text.includes(body))
    })
    const { msg } = await leader.says('answering http://')
    const metrics = await (await fetch(`${msg.replace('answering ', '')}/metrics`)).text()
    const target = `webhook 1 (${new URL(receiver.url).host})`
    expect(samplesOf(metrics)).toMatchObject({
      [`citus_ha_notifications_total{result="sent",target="${target}"}`]: receiver.received.length,
      'citus_ha_notifications_total{result="failed",target="command"}': 0,
      [`citus_ha_notifications_queued{target="${target}"}`]: 0,
    })
  })

  it('a receiver that hangs delays neither a change nor, by more than a moment, the end', async () => {
    receiver.reply = () => 'hang'
    const watching = await watch({ webhooks: webhooks(), timeout: '60s' })
    await watching.says('this instance leads')
    await failOver()
    await watching.says(/group 1: changed/)
    await expectRight(scenario, copies(), truthOf(scenario, 'coordinator'))
    await waitUntil('it was asked', () => receiver.received.length > 0)
    const began = performance.now()
    watching.signal('SIGTERM')
    expect(await watching.ended()).toEqual([0, null])
    expect(performance.now() - began).toBeLessThan(6000)
    await watching.says(/notifications to webhook 1 .* are dropped at shutdown/)
  })

  it('SIGHUP: from then on the new one is told; what is the same keeps what waits', async () => {
    receiver.reply = () => 503
    const config = await scenario.configFile({ detect: DETECT, notify: { webhooks: webhooks() } })
    const watching = watchBy(config)
    await watching.says('this instance leads')
    await failOver()
    await waitUntil('it was told, and said no', () => receiver.received.length > 0)
    const [first] = receiver.documents
    watching.signal('SIGHUP')
    await watching.says('read again')
    receiver.reply = () => 200
    await waitUntil('it comes again', () => receiver.documents.slice(1).some(({ id }) => id === first?.id))
    const next = await Receiver.start()
    try {
      const notify = { webhooks: [{ url: next.url, secret: SECRET }], events: ['leadership'] }
      await writeFile(config, stringify({ detect: DETECT, notify }))
      watching.signal('SIGHUP')
      await waitUntil('the new one is told', () => next.documents.some(({ event }) => event === 'leadership'))
    } finally {
      await next.stop()
    }
  })
})
