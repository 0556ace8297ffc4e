import { spawnSync } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { manPages } from '../support/man.ts'
import {
  alertsPage,
  checksPage,
  commandsPage,
  configurationExample,
  configurationPage,
  configurationSchema,
  environmentPage,
  explanationsPage,
  rulesPage,
  VARIABLES,
} from '../support/reference.ts'

const PAGES = {
  'rules.md': rulesPage,
  'checks.md': checksPage,
  'commands.md': commandsPage,
  'configuration.md': configurationPage,
  'citus-ha.example.yaml': configurationExample,
  'environment.md': environmentPage,
  'explanations.md': explanationsPage,
  '../alerts.md': alertsPage,
  'configuration.schema.json': () => `${JSON.stringify(configurationSchema(), null, 2)}\n`,
}

describe('docs/reference', () => {
  it.each(Object.entries(PAGES))(
    '%s is what the program says; npm run docs makes it anew',
    async (name, made) => {
      await expect(await made()).toMatchFileSnapshot(`../../docs/reference/${name}`)
    },
  )

  it('has its manual pages: those of docs/man are made of the same, and package.json names them', async () => {
    const pages = await manPages()
    for (const [name, text] of Object.entries(pages))
      await expect(text).toMatchFileSnapshot(`../../docs/man/${name}`)
    const names = Object.keys(pages).toSorted()
    expect((await readdir('docs/man')).toSorted()).toEqual(names)
    const { man } = JSON.parse(await readFile('package.json', 'utf8'))
    expect(man.toSorted()).toEqual(names.map((name) => `./docs/man/${name}`))
  })

  it('has manual pages of which man warns of nothing', async ({ skip }) => {
    if (spawnSync('man', ['--version']).status !== 0) return skip('no man here')
    const env = { ...process.env, LC_ALL: 'C.UTF-8', MANROFFSEQ: '', MANWIDTH: '80' }
    for (const name of await readdir('docs/man')) {
      const { stdout, stderr } = spawnSync(
        'man',
        ['--warnings', '-E', 'UTF-8', '-l', '-Tutf8', '-Z', `docs/man/${name}`],
        { env, encoding: 'utf8' },
      )
      expect(stderr, name).toBe('')
      expect(stdout, name).not.toBe('')
    }
  })

  it('names every variable of the environment that the source reads, and no other', async () => {
    const files = (await readdir('src', { recursive: true })).filter((file) => file.endsWith('.ts'))
    const sources = await Promise.all(files.map((file) => readFile(join('src', file), 'utf8')))
    const read = sources.flatMap((text) => [
      ...text.matchAll(/\benv\.([A-Z][A-Z_0-9]+)/g),
      ...text.matchAll(/'(PG[A-Z]{5,})'/g),
      ...text.matchAll(/\{ ([A-Z_, ]+?(?: = [^}]*)?) \}(?:: Environment| = env\b)/g),
    ])
    const names = read.flatMap(([, found = '']) => found.match(/\b[A-Z][A-Z_0-9]{3,}\b/g) ?? [])
    const named = VARIABLES.flatMap(([each]) => each.split(' '))
    expect([...new Set(names.filter((name) => name !== 'PATH'))].sort()).toEqual(named.toSorted())
  })

  it('says something of every key of the configuration', () => {
    expect(keysWithoutWords(configurationSchema())).toEqual([])
  })
})

function keysWithoutWords(node: object, path = ''): string[] {
  const {
    properties = {},
    items,
    additionalProperties,
  } = node as {
    properties?: Record<string, object>
    items?: object
    additionalProperties?: object | boolean
  }
  return [
    ...Object.entries(properties).flatMap(([name, each]) => [
      ...('description' in each ? [] : [`${path}${name}`]),
      ...keysWithoutWords(each, `${path}${name}.`),
    ]),
    ...(items ? keysWithoutWords(items, `${path}[].`) : []),
    ...(typeof additionalProperties === 'object'
      ? keysWithoutWords(additionalProperties, `${path}NAME.`)
      : []),
  ]
}
