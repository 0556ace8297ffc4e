import { describe, expect, it } from 'vitest'
import {
  checksPage,
  commandsPage,
  configurationExample,
  configurationPage,
  configurationSchema,
  rulesPage,
} from '../support/reference.ts'

const PAGES = {
  'rules.md': rulesPage,
  'checks.md': checksPage,
  'commands.md': commandsPage,
  'configuration.md': configurationPage,
  'citus-ha.example.yaml': configurationExample,
  'configuration.schema.json': () => `${JSON.stringify(configurationSchema(), null, 2)}\n`,
}

describe('docs/reference', () => {
  it.each(Object.entries(PAGES))(
    '%s is what the program says; npm run docs makes it anew',
    async (name, made) => {
      await expect(await made()).toMatchFileSnapshot(`../../docs/reference/${name}`)
    },
  )

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
