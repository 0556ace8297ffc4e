import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { validate } from 'dockerfile-utils'
import { StatefulSet } from 'kubernetes-models/apps/v1'
import { ConfigMap } from 'kubernetes-models/v1'
import { describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
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
    expect(last).toMatch(/^ENTRYPOINT \["node", /m)
  })
})

describe('the Kubernetes manifest', () => {
  const documents = async () =>
    parseAllDocuments(await read('docs/kubernetes.yaml')).map((each) => each.toJS())

  test('is what the API takes', async () => {
    const [config, set] = await documents()
    expect(() => new ConfigMap(config).validate()).not.toThrow()
    expect(() => new StatefulSet(set).validate()).not.toThrow()
    // The schema would say so.
    expect(() => new StatefulSet({ ...set, spec: { ...set.spec, replicas: 'two' } }).validate()).toThrow()
  })

  test('its sidecar may do nothing, and its configuration is one', async () => {
    const [config, set] = await documents()
    const sidecar = set.spec.template.spec.containers.find(
      ({ name }: { name: string }) => name === 'citus-ha',
    )
    expect(sidecar.securityContext).toMatchObject({
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
    const text = config.data['citus-ha.yaml']
    const loaded = await loadConfig({ file: 'x', env: {}, readFile: async () => text })
    expect(loaded.coordinators).toHaveLength(2)
  })
})
