import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { validate } from 'dockerfile-utils'
import { Deployment, StatefulSet } from 'kubernetes-models/apps/v1'
import { Job } from 'kubernetes-models/batch/v1'
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1'
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1'
import { ConfigMap, ServiceAccount } from 'kubernetes-models/v1'
import { describe, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { z } from 'zod'
import { loadConfig } from '../../src/config/load.ts'

const ROOT = new URL('../../', import.meta.url)
const read = (path: string) => readFile(new URL(path, ROOT), 'utf8')

describe('the Dockerfile', () => {
  test('has nothing that its linter minds', async () => {
    expect(validate(await read('Dockerfile'))).toEqual([])
  })

  test('the linter would say so', async () => {
    const text = await read('Dockerfile')
    expect(validate(text.replace('WORKDIR /app', 'WORKDIR app\nFORM x'))).not.toEqual([])
  })

  test('copies what is there and is let in, and ends as a user without rights', async () => {
    const text = await read('Dockerfile')
    const allowed = (await read('.dockerignore')).split('\n').map((line) => line.replace(/^!/, ''))
    const copied = [...text.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap((match) =>
      (match[1] ?? '').split(' '),
    )
    expect(copied.length).toBeGreaterThan(5)
    for (const path of copied) {
      expect(existsSync(new URL(path, ROOT)), path).toBe(true)
      expect(allowed).toContain(path)
    }
    const last = text.slice(text.lastIndexOf('\nFROM '))
    expect(last).toMatch(/^USER [1-9]\d*:[1-9]\d*$/m)
    expect(last).toMatch(/^ENTRYPOINT \["\/sbin\/tini", "--", "citus-ha"\]$/m)
  })

  test('has what the program reads from beside itself', async () => {
    const text = await read('Dockerfile')
    const names = await readdir(new URL('src', ROOT), { recursive: true })
    const sources = await Promise.all(
      names.filter((name) => name.endsWith('.ts')).map((name) => read(`src/${name}`)),
    )
    const wanted = sources.flatMap((source) =>
      [...source.matchAll(/packageFile\('([^']+)'\)|new URL\('\.\.\/\.\.\/([\w/]+)/g)].map(
        ([, file, directory]) => (file ?? directory ?? '').replace(/\/$/, ''),
      ),
    )
    expect(wanted).toEqual(expect.arrayContaining(['package.json', 'sql']))
    const last = text.slice(text.lastIndexOf('\nFROM '))
    const copied = [...last.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, paths = '']) =>
      paths.split(' '),
    )
    for (const path of wanted)
      expect(
        copied.some((each) => path === each || path.startsWith(`${each}/`)),
        path,
      ).toBe(true)
  })

  test('has citus-ha on the PATH, as a program that may be run', async () => {
    const text = await read('Dockerfile')
    const { bin } = JSON.parse(await read('package.json'))
    expect(text).toContain(`ln -s /app/${bin['citus-ha']} /usr/local/bin/citus-ha`)
    expect(text).toContain(`chmod 755 ${bin['citus-ha']}`)
  })

  test('says whether it is healthy, of the port that it listens on, and what it is', async () => {
    const text = await read('Dockerfile')
    const { version, license } = JSON.parse(await read('package.json'))
    const [, port] = /^CMD .*"--http", "0\.0\.0\.0:(\d+)"/m.exec(text) ?? []
    expect(text).toMatch(new RegExp(`^HEALTHCHECK .*http://127\\.0\\.0\\.1:${port}/healthz"\\]$`, 'm'))
    expect(text).toContain(`EXPOSE ${port}`)
    expect(text).toContain(`ARG VERSION=${version}`)
    expect(text).toContain(`org.opencontainers.image.licenses="${license}"`)
  })
})

const KUBERNETES = 'deploy/kubernetes/'

/** By kind: what the API's schema says. */
const MODELS: Readonly<Record<string, new (given: never) => { validate(): void }>> = {
  ConfigMap,
  Deployment,
  Job,
  NetworkPolicy,
  PodDisruptionBudget,
  ServiceAccount,
  StatefulSet,
}

/** As the operator's definition of it says, as far as it is used here. */
const podMonitorSchema = z.strictObject({
  apiVersion: z.literal('monitoring.coreos.com/v1'),
  kind: z.literal('PodMonitor'),
  metadata: z.strictObject({ name: z.string() }),
  spec: z.strictObject({
    selector: z.strictObject({ matchLabels: z.record(z.string(), z.string()) }),
    podMetricsEndpoints: z.array(
      z.strictObject({ port: z.string(), path: z.string(), interval: z.string().regex(/^\d+s$/) }),
    ),
  }),
})

/** As Kustomize's, as far as it is used here. */
const kustomizationSchema = z.strictObject({
  apiVersion: z.enum(['kustomize.config.k8s.io/v1beta1', 'kustomize.config.k8s.io/v1alpha1']),
  kind: z.enum(['Kustomization', 'Component']),
  labels: z
    .array(
      z.strictObject({
        pairs: z.record(z.string(), z.string()),
        includeSelectors: z.boolean(),
        includeTemplates: z.boolean(),
      }),
    )
    .optional(),
  resources: z.array(z.string()),
  configMapGenerator: z.array(z.strictObject({ name: z.string(), files: z.array(z.string()) })).default([]),
})

const documentsIn = async (path: string) =>
  parseAllDocuments(await read(path)).map((each) => each.toJS({ maxAliasCount: 0 }))

describe('the Kubernetes manifests', () => {
  const DIRECTORIES = ['base', 'install', 'monitoring'] as const
  const kustomization = async (directory: string) =>
    kustomizationSchema.parse((await documentsIn(`${KUBERNETES}${directory}/kustomization.yaml`))[0])
  const resources = async (directory: string) => {
    const { resources: files } = await kustomization(directory)
    return (await Promise.all(files.map((file) => documentsIn(`${KUBERNETES}${directory}/${file}`)))).flat()
  }
  const all = async () => [
    ...(await Promise.all(DIRECTORIES.map(resources))).flat(),
    ...(await documentsIn(`${KUBERNETES}sidecar.yaml`)),
  ]
  const podsIn = async () => (await all()).flatMap(({ spec }) => spec?.template?.spec ?? [])
  const base = async (kind: string) => (await resources('base')).find((each) => each.kind === kind)

  test('are what the API takes', async () => {
    for (const document of await all()) {
      if (document.kind === 'PodMonitor') podMonitorSchema.parse(document)
      else {
        const Model = MODELS[document.kind]
        if (!Model) throw new Error(`nobody knows ${document.kind}`)
        const given = new Model(document as never)
        expect(() => given.validate(), `${document.kind} ${document.metadata.name}`).not.toThrow()
      }
    }
    // The schema would say so.
    const deployment = await base('Deployment')
    const wrong = { ...deployment, spec: { ...deployment.spec, replicas: 'two' } }
    expect(() => new Deployment(wrong).validate()).toThrow()
  })

  test('leave no file out of their kustomizations', async () => {
    for (const directory of DIRECTORIES) {
      const { resources: named, configMapGenerator } = await kustomization(directory)
      const files = configMapGenerator.flatMap((each) => each.files)
      const there = await readdir(new URL(`${KUBERNETES}${directory}`, ROOT))
      expect([...named, ...files, 'kustomization.yaml'].sort(), directory).toEqual(there.sort())
    }
  })

  test('their pods keep to the Pod Security Standard “restricted”, and write nothing', async () => {
    const pods = await podsIn()
    expect(pods).toHaveLength(3)
    for (const pod of pods) {
      for (const { name, image, securityContext = {}, resources: limits } of pod.containers) {
        if (name === 'postgres') continue
        const either = { ...pod.securityContext, ...securityContext }
        expect(either, name).toMatchObject({
          runAsNonRoot: true,
          seccompProfile: { type: 'RuntimeDefault' },
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        })
        expect(either.runAsUser, name).toBeGreaterThan(0)
        expect(limits.limits.memory, name).toBeDefined()
        expect(image, name).toMatch(/^citus-ha:\d/)
      }
    }
  })

  test('are of this version, and hold no password', async () => {
    const { version } = JSON.parse(await read('package.json'))
    for (const pod of await podsIn())
      for (const { name, image, env = [] } of pod.containers) {
        if (name !== 'postgres') expect(image).toBe(`citus-ha:${version}`)
        for (const each of env) expect(each, name).not.toHaveProperty('value')
      }
  })

  test('the configuration is one, and listens where probes, Prometheus and the policy expect it', async () => {
    const text = await read(`${KUBERNETES}base/citus-ha.yaml`)
    const loaded = await loadConfig({ file: 'x', env: {}, readFile: async () => text })
    expect(loaded.coordinators).toHaveLength(2)
    const [container] = (await base('Deployment')).spec.template.spec.containers
    const [port] = container.ports
    expect(loaded.http).toMatchObject({
      listen: { host: '0.0.0.0', port: port.containerPort },
      page: false,
    })
    const paths = [container.livenessProbe, container.readinessProbe].map(({ httpGet }) => httpGet)
    expect(paths).toEqual([
      { path: '/healthz', port: port.name },
      { path: '/readyz', port: port.name },
    ])
    const [monitor] = await resources('monitoring')
    expect(monitor.spec.podMetricsEndpoints[0].port).toBe(port.name)
    expect((await base('NetworkPolicy')).spec.ingress[0].ports).toEqual([
      { port: port.name, protocol: 'TCP' },
    ])
  })

  test('everything selects the pods of the deployment, and those alone', async () => {
    const { labels } = (await base('Deployment')).spec.template.metadata
    const selectors = [...(await resources('base')), ...(await resources('monitoring'))].flatMap(
      ({ spec }) => {
        return spec?.selector?.matchLabels ?? spec?.podSelector?.matchLabels ?? []
      },
    )
    expect(selectors).toHaveLength(4)
    for (const selector of selectors) expect(selector).toEqual(labels)
    const [job] = await resources('install')
    expect(job.spec.template.metadata.labels).not.toMatchObject(labels)
  })

  test('the sidecar’s configuration is one', async () => {
    const [config] = await documentsIn(`${KUBERNETES}sidecar.yaml`)
    const text = config.data['citus-ha.yaml']
    const loaded = await loadConfig({ file: 'x', env: {}, readFile: async () => text })
    expect(loaded.coordinators).toHaveLength(2)
  })
})

const workflowSchema = z.object({
  on: z.object({ push: z.object({ tags: z.array(z.string()) }) }),
  permissions: z.strictObject({}),
  jobs: z.record(
    z.string(),
    z.object({
      needs: z.union([z.string(), z.array(z.string())]).default([]),
      permissions: z.record(z.string(), z.enum(['read', 'write'])),
      'timeout-minutes': z.int(),
      steps: z.array(z.object({ uses: z.string().optional(), run: z.string().optional() })),
    }),
  ),
})

describe('the release', () => {
  const workflow = async () => workflowSchema.parse(parse(await read('.github/workflows/release.yml')))

  test('gives each job the rights it needs, and runs what is in the repository', async () => {
    const { jobs } = await workflow()
    const names = Object.keys(jobs)
    for (const [name, job] of Object.entries(jobs)) {
      for (const needed of [job.needs].flat()) expect(names, name).toContain(needed)
      for (const { uses, run = '' } of job.steps) {
        if (uses !== undefined) expect(uses).toMatch(/^[\w-]+\/[\w-]+@v\d+$/)
        for (const [path] of run.matchAll(/(?<![\w/])(?:\.ci|deploy)\/[\w/]+/g))
          expect(existsSync(new URL(path, ROOT)), path).toBe(true)
      }
    }
    // Whoever publishes has built nothing, and nothing is published that did not pass.
    expect([jobs.npm?.needs, jobs.image?.needs, jobs.build?.needs]).toEqual(['build', 'build', 'test'])
    expect(jobs.npm?.permissions).toEqual({ 'id-token': 'write' })
  })

  test('makes an SBOM that names all that is installed, in its version', { timeout: 120_000 }, async () => {
    const said = execFileSync('deploy/sbom', { cwd: ROOT, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 })
    const { bomFormat, components } = JSON.parse(said)
    expect(bomFormat).toBe('CycloneDX')
    const { packages } = JSON.parse(await read('npm-shrinkwrap.json'))
    const installed = Object.entries<{ version: string; dev?: true; devOptional?: true }>(packages).flatMap(
      ([path, { version, dev, devOptional }]) =>
        path === '' || dev || devOptional ? [] : [`${path.replace(/^.*node_modules\//, '')}@${version}`],
    )
    const named = components.map(({ purl }: { purl: string }) =>
      decodeURIComponent(purl).replace(/^pkg:npm\//, ''),
    )
    expect(named.sort()).toEqual([...new Set(installed)].sort())
    expect(installed.length).toBeGreaterThan(50)
  })
})
