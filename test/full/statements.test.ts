import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { reconcile, watch } from '../../src/index.ts'
import { formatAddress } from '../../src/model/node.ts'
import { Controller, TOKEN } from '../support/control.ts'
import { Receiver } from '../support/receiver.ts'
import { citusHa, client, Scenario } from '../support/scenario.ts'
import { WatchProcess } from '../support/watch-process.ts'

/** As it is in what a client was running, and in the name of a transaction that it has prepared. */
const CARD = '4111111111111111'
const APPLICATION = 'the-shop'
const DETECT = { interval: '400ms', timeout: '800ms', cooldown: '0s' }

/** Everything that was told in one place, and whether that names who is in the way. */
interface Sink {
  readonly name: string
  readonly names: 'who' | 'nobody'
  readonly told: () => Promise<string>
}

describe('what a client was running', () => {
  let scenario: Scenario
  let receiver: Receiver
  let shop: Awaited<ReturnType<typeof client>>
  let watching: WatchProcess | null = null
  let controller: Controller | null = null
  const server = (name: string): Server => scenario.cluster.server(name)

  beforeAll(async () => {
    scenario = await Scenario.start()
  })
  beforeEach(async () => {
    await scenario.restore()
    receiver = await Receiver.start()
    shop = await client(server('coordinator'), scenario.cluster.database)
    await shop.query(`SET application_name = '${APPLICATION}'`)
    await shop.query(`BEGIN; CREATE TABLE paid (id int); PREPARE TRANSACTION 'citus_ha_${CARD}'`)
    await shop.query('BEGIN')
    await shop.query(`LOCK TABLE pg_dist_node IN SHARE MODE /* SELECT pay('${CARD}') */`)
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
  })
  afterEach(async () => {
    controller?.stop()
    await watching?.stop()
    controller = null
    watching = null
    await shop.end()
    await receiver.stop()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  /** Lets every way of telling tell of it, and gives what each of them told. */
  async function tellEverywhere(file: object): Promise<ReadonlyMap<Sink, string>> {
    const out = join(scenario.cluster.directory, 'told')
    const script = join(scenario.cluster.directory, 'tell.sh')
    await writeFile(out, '')
    await writeFile(script, `#!/bin/sh\nexec cat >> '${out}'\n`, { mode: 0o755 })
    const config = await scenario.configFile({
      detect: DETECT,
      control: { listen: '127.0.0.1:0', token: TOKEN },
      notify: {
        webhooks: [{ url: receiver.url, secret: 'a-secret-of-enough-characters' }],
        command: [script],
      },
      ...file,
    })
    const flags = [...scenario.options, '--config', config]
    const started = WatchProcess.start([...flags, '--http', '127.0.0.1:0', '--log-level', 'debug'])
    watching = started
    const control = await Controller.of(started)
    controller = control
    const events = await control.events()
    const seen = (text: string) => text.includes(APPLICATION)
    await waitUntil('the log and the events name who is in the way', () => {
      return seen(JSON.stringify(started.lines)) && seen(JSON.stringify(events))
    })
    await waitUntil('the receivers were told', async () => {
      return seen(JSON.stringify(receiver.documents)) && seen(await readFile(out, 'utf8'))
    })
    const door = (await started.says('answering http://')).msg.replace('answering ', '')
    const at = formatAddress(server('worker-1-standby'))
    const short = { settings: { detect: DETECT, apply: { deadline: '700ms' }, ...file } }
    const coordinators = scenario.options.filter((option) => option.startsWith('postgres'))
    const sinks: Sink[] = [
      { name: 'log of watch', names: 'who', told: async () => JSON.stringify(started.lines) },
      { name: 'webhook', names: 'who', told: async () => JSON.stringify(receiver.documents) },
      { name: 'command', names: 'who', told: () => readFile(out, 'utf8') },
      { name: '/v1/events', names: 'who', told: async () => JSON.stringify(events) },
      ...['/healthz', '/readyz', '/status', '/metrics'].map((path): Sink => {
        return { name: path, names: 'nobody', told: async () => await (await fetch(door + path)).text() }
      }),
      {
        name: 'POST /v1/reconcile',
        names: 'who',
        told: async () => JSON.stringify(await control.post('/v1/reconcile', { timeout: '700ms' })),
      },
      {
        name: 'POST /v1/groups/1/promoted',
        names: 'who',
        told: async () =>
          JSON.stringify(await control.post('/v1/groups/1/promoted', { node: at, timeout: '700ms' })),
      },
      {
        name: 'GET /v1/history',
        names: 'nobody',
        told: async () => JSON.stringify(await control.get('/v1/history')),
      },
      {
        name: 'library, report and log',
        names: 'who',
        told: async () => {
          const lines: string[] = []
          const log = { info: (line: string) => lines.push(line), warn: (line: string) => lines.push(line) }
          const signal = AbortSignal.timeout(30_000)
          const reports = await reconcile({ ...short, coordinators, signal, log })
          return JSON.stringify([reports, lines])
        },
      },
      ...[
        ['event', 'promoted', at, '--timeout', '2s'],
        ['event', 'promoted', at, '--timeout', '2s', '--json'],
        ['watch', '--once', '--json'],
        ['reconcile', '--timeout', '4s', '--log-level', 'debug'],
      ].map(([command = '', ...rest]): Sink => {
        return {
          name: `citus-ha ${command} ${rest.filter((word) => word.startsWith('--')).join(' ')}`,
          names: 'who',
          told: async () => {
            const quick = await scenario.configFile({ ...short.settings })
            const ran = await citusHa([command, ...rest, ...scenario.options, '--config', quick])
            return ran.stdout + ran.stderr
          },
        }
      }),
      {
        name: 'citus-ha history --json',
        names: 'nobody',
        told: async () => (await citusHa(['history', '--json', ...flags])).stdout,
      },
      { name: 'log of watch, at the end', names: 'who', told: async () => JSON.stringify(started.lines) },
      {
        name: 'library, onEvent',
        names: 'who',
        told: async () => {
          // Else it would follow, and not act.
          await started.stop()
          const heard: unknown[] = []
          const stop = new AbortController()
          const running = watch({
            ...short,
            coordinators,
            signal: AbortSignal.any([stop.signal, AbortSignal.timeout(30_000)]),
            onEvent: (event) => heard.push(event),
          })
          await waitUntil('it was told', () => seen(JSON.stringify(heard)))
          stop.abort()
          await running
          return JSON.stringify(heard)
        },
      },
    ]
    const told = new Map<Sink, string>()
    for (const sink of sinks) {
      const texts: string[] = []
      // Now and then it is the watcher itself that is in the way of a walk that was asked for.
      await waitUntil(`${sink.name} tells`, async () => {
        texts.push(await sink.told())
        return sink.names === 'nobody' || texts.some(seen)
      })
      told.set(sink, texts.join('\n'))
    }
    expect(started.rest).toEqual([])
    return told
  }

  it('is told to nobody, on no way, and who it was is', async () => {
    const told = await tellEverywhere({})
    const leaky = [...told].filter(([, text]) => text.includes(CARD)).map(([{ name }]) => name)
    expect(leaky).toEqual([])
    for (const [{ name, names }, text] of told) {
      expect(text, name).not.toBe('')
      expect(text.includes(APPLICATION), `${name}: ${text}`).toBe(names === 'who')
    }
  })

  it('is told where discloseStatements asks for it', async () => {
    const told = await tellEverywhere({ discloseStatements: true })
    for (const [{ name, names }, text] of told)
      expect(text.includes(`pay('${CARD}')`), `${name}: ${text}`).toBe(names === 'who')
  })

  it.each([
    { how: 'reconcile', args: ['reconcile', '--timeout', '4s'], stream: 'stderr' },
    { how: 'reconcile', args: ['reconcile', '--timeout', '4s'], stream: 'stdout' },
    { how: 'reconcile --json', args: ['reconcile', '--timeout', '4s', '--json'], stream: 'stdout' },
  ] as const)('is shown to whoever runs $how, on $stream', async ({ args, stream }) => {
    const ran = await scenario.run(...args)
    expect(ran.exitCode).toBe(4)
    expect(ran[stream]).toContain(CARD)
  })
})
