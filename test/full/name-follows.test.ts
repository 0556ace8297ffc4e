import { once } from 'node:events'
import {
  type AddressInfo,
  createServer,
  connect as dial,
  type Server as Listener,
  type Socket,
} from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { daemonRuns, standin } from '../support/clients.ts'
import { Scenario } from '../support/scenario.ts'
import { Watching } from '../support/watching.ts'

/** A name that somebody else moves from server to server, as Kubernetes does a Service: connections go where it leads now. */
class Service {
  to: Server
  readonly #listener: Listener
  readonly #sockets = new Set<Socket>()

  constructor(to: Server) {
    this.to = to
    this.#listener = createServer((socket) => {
      const upstream = dial(this.to.port, this.to.host)
      for (const each of [socket, upstream]) {
        this.#sockets.add(each)
        each.on('error', () => undefined)
        each.on('close', () => [socket, upstream].forEach((one) => void one.destroy()))
      }
      socket.pipe(upstream).pipe(socket)
    }).listen(0, '127.0.0.1')
  }

  async port(): Promise<number> {
    if (!this.#listener.listening) await once(this.#listener, 'listening')
    return (this.#listener.address() as AddressInfo).port
  }

  lead(to: Server): void {
    this.to = to
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#listener.close()
  }
}

describe.skipIf(standin)('a name in a row that follows the primary by itself', () => {
  let scenario: Scenario
  let service: Service
  let name: string
  let config: readonly string[]
  const server = (of: string): Server => scenario.cluster.server(of)
  const sql = (text: string) => server('coordinator').query(text, [], { database: scenario.cluster.database })
  const rows = () => scenario.rows(server('coordinator'))
  const file = () => ({ addresses: { [name]: { follows: 'primary' } } })

  beforeAll(async () => {
    scenario = await Scenario.start({ workers: [{ standbys: [{}] }, {}], coordinatorStandbys: [] })
  })
  beforeEach(async () => {
    await scenario.restore()
    service = new Service(server('worker-1'))
    const port = await service.port()
    name = `127.0.0.1:${port}`
    await daemonRuns(server('coordinator'), scenario.cluster.database)
    await sql(`SELECT citus_update_node(2, '127.0.0.1', ${port})`)
    config = ['--config', await scenario.configFile(file())]
    await scenario.settle()
    expect(await scenario.reconcileWith([...scenario.options, ...config])).toMatchObject({
      outcome: 'converged',
    })
    return () => service.close()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  it('is never rewritten: reconcile waits for it, and says so; it is right when the name has moved', async () => {
    const before = await rows()
    expect(before).toContain(`2 group 1 primary ${name}`)
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const waits = await scenario.run('reconcile', ...config)
    expect(waits.exitCode).toBe(3)
    expect(waits.stdout).toContain('name-to-follow (D065)')
    expect(waits.stdout).toContain(`${name} follows the primary by itself`)
    const vouched = await scenario.run(
      'reconcile',
      '--promoted',
      formatAddress(server('worker-1-standby')),
      ...config,
    )
    expect(vouched.exitCode).toBe(3)
    expect(await rows()).toEqual(before)
    service.lead(server('worker-1-standby'))
    expect(await scenario.reconcileWith([...scenario.options, ...config])).toMatchObject({
      outcome: 'converged',
    })
    expect(await rows()).toEqual(before)
    await sql(`INSERT INTO items SELECT i, 'after' FROM generate_series(1001, 1100) i`)
  })

  it('is waited for by watch, whichever is quicker, and no switchover is begun', async () => {
    const before = await rows()
    const refused = await scenario.run('switchover', '--group', '1', '--yes', ...config)
    expect(refused.exitCode).toBe(3)
    expect(refused.stdout + refused.stderr).toContain('switch it with the tool that moves that name')
    const watching = await Watching.start(scenario, file())
    try {
      await server('worker-1').kill()
      await server('worker-1-standby').promote()
      const believed = () =>
        watching
          .of('diagnosed')
          .filter(({ group }) => group === 1)
          .at(-1)?.code
      await waitUntil('it waits for the name', () => believed() === 'name-to-follow')
      service.lead(server('worker-1-standby'))
      await waitUntil('it is right', () => ['healthy', 'secondary-down'].includes(believed() ?? ''))
      expect(
        watching.of('acted').flatMap(({ report }) => report.changes.map(({ kind }) => kind)),
      ).not.toContain('primary-moved')
      expect((await rows()).filter((row) => row.includes('primary'))).toEqual(
        before.filter((row) => row.includes('primary')),
      )
    } finally {
      await watching.stop()
    }
  })
})
