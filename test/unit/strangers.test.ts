import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { request as plainly } from 'node:http'
import { request as securely } from 'node:https'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { serveControl } from '../../src/http/control/serve.ts'
import type { Listener } from '../../src/http/listener.ts'
import { Metrics } from '../../src/http/metrics.ts'
import { serve } from '../../src/http/serve.ts'
import type { HostPort } from '../../src/model/node.ts'
import { Authority, type Certificate } from '../support/certificates.ts'
import { stateOf, viewOf } from '../support/watch-state.ts'

const TOKEN = 'a-token-of-enough-characters'
/** As many as there are places, at each of three listeners. */
const CROWD = 100
/** Less than a place is kept without a request, more than a busy machine takes. */
const LIMIT_MS = 4000

let directory: string
let authority: Authority
let certificate: Certificate
const open: Listener[] = []
let crowd: Socket[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'citus-ha-strangers-'))
  authority = await Authority.make(directory, 'own')
  certificate = await authority.sign('watcher')
})
afterEach(async () => {
  for (const socket of crowd) socket.destroy()
  crowd = []
  await Promise.all(open.splice(0).map((listener) => listener.close()))
})
afterAll(async () => {
  await rm(directory, { recursive: true, force: true })
})

async function control(given: object): Promise<HostPort> {
  const yaml = JSON.stringify({ coordinators: [{ url: 'postgres://u@cn1/app' }], control: given })
  const config = await loadConfig({ file: 'citus-ha.yaml', env: {}, readFile: async () => yaml })
  if (!config.control?.listen) throw new Error('it does not listen')
  const listener = await serveControl({
    control: { ...config.control, listen: config.control.listen },
    actions: () => ({
      reconcile: async () => ({ done: [], failed: [], exitCode: 0 }),
      pause: async () => [],
      history: async () => [],
      fence: async () => [],
      release: async () => [],
    }),
    version: '0',
    done: () => undefined,
    problem: () => undefined,
  })
  open.push(listener)
  return listener.address
}

interface Doors {
  readonly health: HostPort
  readonly control: HostPort
  readonly secure: HostPort
}

/** The three listeners as a watcher opens them. */
async function start(): Promise<Doors> {
  const states = () => [stateOf({ view: viewOf() })]
  const metrics = await Metrics.open({ states, version: '0' })
  const listen = { host: '127.0.0.1', port: 0 }
  const listener = await serve({ listen, states, metrics, problem: () => undefined })
  open.push(listener)
  const tls = { cert: certificate.cert, key: certificate.key }
  return {
    health: listener.address,
    control: await control({ listen: '127.0.0.1:0', token: TOKEN }),
    secure: await control({ listen: '127.0.0.1:0', token: TOKEN, tls }),
  }
}

/** A friend's request on a connection of its own. @returns its status and how long it took, in milliseconds */
async function ask({ host, port }: HostPort, path: string, ca?: Buffer): Promise<[number, number]> {
  const began = performance.now()
  const headers = { authorization: `Bearer ${TOKEN}` }
  const options = { host, port, path, headers, agent: false, ...(ca && { ca }) }
  return await new Promise((resolve, reject) => {
    const asked = (ca ? securely : plainly)(options, (answer) => {
      answer.resume().once('end', () => resolve([answer.statusCode ?? 0, performance.now() - began]))
    })
    asked.once('error', reject)
    asked.end()
  })
}

function arrive({ host, port }: HostPort): Socket {
  const socket = connect({ host, port, allowHalfOpen: true })
  socket.on('error', () => undefined)
  crowd.push(socket)
  return socket
}

/** Sends a byte every so often, for as long as it may. */
function dribble(socket: Socket, byte: string): void {
  const timer = setInterval(() => socket.write(byte), 200)
  socket.once('close', () => clearInterval(timer))
}

const GET = (path: string) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`
const FRIENDLY = (path: string) => `GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\n\r\n`
const POST = 'POST /v1/pause HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 900\r\n'
const whereverThereIsOne = ['health', 'control', 'secure'] as const

interface Attacker {
  readonly who: string
  readonly at?: readonly (keyof Doors)[]
  readonly does: (door: HostPort) => void
}

const ATTACKERS: readonly Attacker[] = [
  { who: 'says nothing', does: (door) => void arrive(door).resume() },
  {
    who: 'says nothing, and comes again',
    does: (door) => {
      const again = () => {
        if (crowd.length < 900)
          arrive(door)
            .resume()
            .once('close', () => setTimeout(again, 20))
      }
      again()
    },
  },
  {
    who: 'dribbles a header',
    does: (door) => {
      const socket = arrive(door).resume()
      socket.write('GET /healthz HTTP/1.1\r\nx: ')
      dribble(socket, 'x')
    },
  },
  {
    who: 'dribbles a body',
    does: (door) => {
      const socket = arrive(door).resume()
      socket.write(`${POST}\r\n`)
      dribble(socket, ' ')
    },
  },
  {
    who: 'dribbles a body, with a token',
    at: ['control'],
    does: (door) => {
      const socket = arrive(door).resume()
      socket.write(`${POST}authorization: Bearer ${TOKEN}\r\n\r\n`)
      dribble(socket, ' ')
    },
  },
  { who: 'closes its half', does: (door) => void arrive(door).resume().end() },
  {
    who: 'closes its half in the middle',
    does: (door) => void arrive(door).resume().end('GET /healthz HTTP/1.1\r\nx: '),
  },
  {
    who: 'never ends a TLS handshake',
    at: ['secure'],
    does: (door) =>
      void arrive(door)
        .resume()
        .write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01])),
  },
  {
    who: 'says nothing inside TLS',
    at: ['secure'],
    does: ({ host, port }) => {
      const socket = connectTls({ host, port, rejectUnauthorized: false })
      socket.on('error', () => undefined)
      crowd.push(socket)
    },
  },
  { who: 'keeps what was answered', does: (door) => void arrive(door).resume().write(GET('/healthz')) },
  {
    who: 'keeps what was answered, with a token',
    at: ['control'],
    does: (door) => void arrive(door).resume().write(FRIENDLY('/v1/history')),
  },
  {
    who: 'asks a hundred times at once',
    at: ['health', 'control'],
    does: (door) => void arrive(door).resume().write(GET('/metrics').repeat(100)),
  },
  {
    who: 'reads no answer',
    at: ['health', 'control'],
    does: (door) => void arrive(door).pause().write(GET('/metrics').repeat(100)),
  },
  {
    who: 'listens to events and reads none',
    at: ['control'],
    does: (door) => void arrive(door).pause().write(FRIENDLY('/v1/events')),
  },
]

test.each(ATTACKERS)('a crowd that $who keeps nobody out', { timeout: 60_000 }, async ({ at, does }) => {
  const doors = await start()
  const ca = await readFile(authority.cert)
  for (const door of at ?? whereverThereIsOne) for (let n = 0; n < CROWD; n++) does(doors[door])
  await waitUntil('all of them are there', () => crowd.every(({ connecting }) => !connecting))
  for (let round = 0; round < 3; round++) {
    for (const [door, path] of [
      ['health', '/healthz'],
      ['health', '/readyz'],
      ['health', '/metrics'],
      ['control', '/v1/history'],
      ['secure', '/v1/history'],
    ] as const) {
      const [status, ms] = await ask(doors[door], path, door === 'secure' ? ca : undefined)
      expect([door, path, status]).toEqual([door, path, 200])
      // At first the crowd itself is still being heard, by the same process.
      if (round > 0) expect(ms, `${door} ${path}`).toBeLessThan(LIMIT_MS)
    }
  }
})

test('who has shown who he is is not sent away for a crowd of strangers', async () => {
  const doors = await start()
  const stream = arrive(doors.control)
  let heard = ''
  stream.setEncoding('utf8').on('data', (text: string) => {
    heard += text
  })
  stream.write(FRIENDLY('/v1/events'))
  await waitUntil('it listens', () => heard.includes(': citus-ha'))
  for (let n = 0; n < 2 * CROWD; n++) arrive(doors.control).resume()
  const ended = () => crowd.filter(({ destroyed, readableEnded }) => destroyed || readableEnded).length
  await waitUntil('strangers are sent away', () => ended() >= CROWD)
  expect(stream.destroyed || stream.readableEnded).toBe(false)
})

test('a connection without a request ends within seconds, though there is room', {
  timeout: 60_000,
}, async () => {
  const doors = await start()
  const began = performance.now()
  for (const door of whereverThereIsOne) arrive(doors[door]).resume()
  await waitUntil('all are ended', () =>
    crowd.every(({ readableEnded, destroyed }) => readableEnded || destroyed),
  )
  // Node's own limits are a minute and more.
  expect(performance.now() - began).toBeLessThan(30_000)
})
