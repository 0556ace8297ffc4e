import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  GenericContainer,
  getContainerRuntimeClient,
  Network,
  type StartedNetwork,
  type StartedTestContainer,
  Wait,
} from 'testcontainers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse, stringify } from 'yaml'
import { z } from 'zod'

const exec = promisify(execFile)
const engine = await getContainerRuntimeClient().catch(() => null)
if (engine === null) process.stdout.write('citusdata/citus image: skipped, no Docker engine answers\n')

/** What docker-compose.citus.yml starts a server with: this is that file's test, too. */
const serverSchema = z.object({ image: z.string(), entrypoint: z.array(z.string()) })

describe.skipIf(engine === null)('reconcile on the citusdata/citus image', () => {
  // New ones each time: the ports are published for as long as the test runs.
  const passwords = { postgres: randomBytes(12).toString('hex'), citus_ha: randomBytes(12).toString('hex') }
  const started = new Map<string, StartedTestContainer>()
  let network: StartedNetwork
  let directory: string
  let config: string

  const server = (name: string): StartedTestContainer => {
    const found = started.get(name)
    if (!found) throw new Error(`no container ${name}`)
    return found
  }

  async function start(name: string, primary?: string): Promise<void> {
    const file = new URL('../../docker-compose.citus.yml', import.meta.url)
    const { image, entrypoint } = serverSchema.parse(parse(await readFile(file, 'utf8'))['x-server'])
    const container = await new GenericContainer(image)
      .withEntrypoint(entrypoint.map((part) => part.replaceAll('$$', '$')))
      .withEnvironment({
        POSTGRES_PASSWORD: passwords.postgres,
        POSTGRES_DB: 'app',
        POSTGRES_HOST_AUTH_METHOD: 'scram-sha-256',
        CITUS_HA_PASSWORD: passwords.citus_ha,
        ...(primary === undefined ? {} : { PRIMARY: primary }),
      })
      .withNetwork(network)
      .withNetworkAliases(name)
      .withExposedPorts(5432)
      .withWaitStrategy(Wait.forSuccessfulCommand('pg_isready -h 127.0.0.1 -U postgres -d app'))
      .withStartupTimeout(120_000)
      .start()
    started.set(name, container)
  }

  /** In the container, over its socket, where initdb trusts the superuser. */
  async function psql(name: string, sql: string): Promise<string> {
    const command = ['psql', '-X', '-qAt', '-v', 'ON_ERROR_STOP=1', '-U', 'postgres', '-d', 'app', '-c', sql]
    const { exitCode, output } = await server(name).exec(command)
    if (exitCode !== 0) throw new Error(`psql on ${name}: ${output}`)
    return output.trim()
  }

  const rows = async (name: string) =>
    (await psql(name, `SELECT noderole, nodename FROM pg_dist_node WHERE groupid = 1 ORDER BY nodeid`)).split(
      '\n',
    )

  /** The command line as a process. @throws Error with what it said, where its exit code is not 0 */
  async function run(user: keyof typeof passwords, ...args: string[]): Promise<string> {
    const env = { PATH: process.env.PATH, HOME: '/nonexistent', PGUSER: user, PGPASSWORD: passwords[user] }
    const main = new URL('../../dist/bin/citus-ha.js', import.meta.url).pathname
    return (await exec(process.execPath, [main, ...args, '--config', config], { env })).stdout
  }

  /** The registered names mean nothing outside of the containers' network. */
  async function writeConfig(): Promise<void> {
    const addresses = [...started].map(([name, container]) => [
      `${name}:5432`,
      { connect: `${container.getHost()}:${container.getMappedPort(5432)}` },
    ])
    config = join(directory, 'citus-ha.yaml')
    const coordinators = [{ url: 'postgres://coordinator:5432/app' }]
    await writeFile(config, stringify({ coordinators, addresses: Object.fromEntries(addresses) }))
  }

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'citus-ha-image-'))
    network = await new Network().start()
    await Promise.all([start('coordinator'), start('worker-1')])
    await start('worker-1-standby', 'worker-1')
    await psql('coordinator', `SELECT citus_set_coordinator_host('coordinator', 5432)`)
    await psql('coordinator', `SELECT citus_add_node('worker-1', 5432)`)
    await psql('coordinator', `SELECT citus_add_secondary_node('worker-1-standby', 5432, 'worker-1', 5432)`)
    await psql('coordinator', `CREATE ROLE citus_ha LOGIN PASSWORD '${passwords.citus_ha}'`)
    await writeConfig()
  }, 300_000)

  afterAll(async () => {
    await Promise.all([...started.values()].map((container) => container.stop()))
    await network?.stop()
    if (directory) await rm(directory, { recursive: true, force: true })
  })

  it('installs, and after a promotion rewrites the coordinator’s copy and the promoted node’s own', async () => {
    await run('postgres', 'install')
    expect(JSON.parse(await run('citus_ha', 'reconcile', '--json'))).toMatchObject({ outcome: 'converged' })
    expect(await rows('coordinator')).toEqual(['primary|worker-1', 'secondary|worker-1-standby'])

    await server('worker-1').stop({ timeout: 0 })
    started.delete('worker-1')
    const promoted = await server('worker-1-standby').exec(['pg_ctl', 'promote', '-w'], { user: 'postgres' })
    expect(promoted, promoted.output).toMatchObject({ exitCode: 0 })
    expect(JSON.parse(await run('citus_ha', 'reconcile', '--json'))).toMatchObject({ outcome: 'changed' })
    for (const name of ['coordinator', 'worker-1-standby']) {
      expect(await rows(name), name).toEqual(['primary|worker-1-standby', 'secondary|worker-1'])
    }
    expect(JSON.parse(await run('citus_ha', 'reconcile', '--json'))).toMatchObject({ outcome: 'converged' })
  }, 120_000)
})
