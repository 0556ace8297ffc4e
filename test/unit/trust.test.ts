import { describe, expect, it } from 'vitest'
import { functionFiles } from '../../src/db/sql.ts'
import { ownFunctions, type SchemaFacts, trustOf } from '../../src/observe/trust.ts'

const ours = (parts: Partial<SchemaFacts> = {}): SchemaFacts => ({
  owner: 'postgres',
  creators: [],
  strangers: [],
  functions: [...ownFunctions()],
  others: [],
  ...parts,
})
const first = ownFunctions().find(({ name }) => name === 'node_identity')
const rest = ownFunctions().filter((each) => each !== first)
if (!first) throw new Error('no functions')

describe('the schema citus_ha of a node', () => {
  it('has every function that is in sql/functions, once', () => {
    const written = functionFiles()
      .join('')
      .match(/FUNCTION citus_ha\.\w+/g)
    expect(ownFunctions().map(({ name }) => `FUNCTION citus_ha.${name}`)).toEqual(written)
    expect(new Set(ownFunctions().map(({ name }) => name)).size).toBe(ownFunctions().length)
  })

  it.each<[string, SchemaFacts, { untrusted?: RegExp; drift?: RegExp }]>([
    ['as installed', ours(), {}],
    ['not there', ours({ owner: null, functions: [] }), { drift: /\bnode_identity\(\) is missing, / }],
    [
      'of another',
      ours({ strangers: ['the schema of mallory'] }),
      { untrusted: /^the schema of mallory, which is no superuser$/ },
    ],
    [
      'open to PUBLIC',
      ours({ creators: ['PUBLIC'] }),
      { untrusted: /^PUBLIC, which is no superuser, may CREATE in it$/ },
    ],
    [
      'with a trigger',
      ours({ others: ['trigger t on epoch'] }),
      { untrusted: /^unexpected: trigger t on epoch$/ },
    ],
    [
      'with another function beside ours',
      ours({ functions: [...ownFunctions(), { ...first, name: 'x' }] }),
      {},
    ],
    ['without one', ours({ functions: rest }), { drift: /^node_identity\(\) is missing$/ }],
    ...(['body', 'language'] as const).map((part): [string, SchemaFacts, { drift: RegExp }] => [
      `with another ${part}`,
      ours({ functions: [{ ...first, [part]: 'other' }, ...rest] }),
      { drift: /^node_identity\(\) differs$/ },
    ]),
    [
      'with another caller’s rights',
      ours({ functions: [{ ...first, definer: !first.definer }, ...rest] }),
      { drift: /differs/ },
    ],
    [
      'with another path',
      ours({ functions: [{ ...first, config: ['search_path=public'] }, ...rest] }),
      { drift: /differs/ },
    ],
  ])('%s', (_, facts, { untrusted, drift }) => {
    const found = trustOf(facts)
    expect(found.untrusted.join(', ')).toMatch(untrusted ?? /^$/)
    expect(found.drift.join(', ')).toMatch(drift ?? /^$/)
    expect(found.knowsItself).toBe(drift === undefined)
  })
})
