import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, test } from 'vitest'
import { stringify } from 'yaml'
import { checkConfig } from '../../src/cli/check-config.ts'
import { exampleFile } from '../../src/config/example.ts'
import { namesIn, schemaTree } from '../../src/config/problems.ts'
import { configSchema } from '../../src/config/schema.ts'
import { slipsIn } from '../../src/config/slips.ts'

const URL = 'postgres://citus_ha@cn1.example:5432/app'
const ENTRY = `  - url: ${URL}\n`
const GOOD = `coordinators:\n${ENTRY}`
const password = (text: string) => `${GOOD}connection:\n  password: ${text}\n`
const detect = (text: string) => `${GOOD}detect:\n${text}\n`

const NO_BLANK = 'read as text, not as a key; expected a blank after the colon'
const NO_COLON = 'read as text, not as a key; expected a colon'
const NOT = 'not YAML: '

/** What is mistyped, in how it is typed, and what is said of it: the line and column, what was read, what was expected. */
const SLIPS: readonly [name: string, yaml: string, ...says: readonly string[]][] = [
  [
    'no blank after the dash',
    `coordinators:\n  -url: ${URL}\n`,
    '2:3: read as a key “-url”; expected a blank after the dash: “- url: …”',
  ],
  [
    'no blank after two dashes',
    `coordinators:\n  -url: ${URL}\n  -url: ${URL}\n`,
    `2:3: ${NOT}read as a key “-url”; expected a blank after the dash: “- url: …”`,
  ],
  [
    'an asterisk as a dash',
    `coordinators:\n  * url: ${URL}\n`,
    `2:3: ${NOT}expected “- ” at the beginning of a list entry, got “*”`,
  ],
  [
    'a dash too far to the right',
    `${GOOD}    - url: ${URL}\n`,
    `3:5: ${NOT}a list entry among keys; expected its dash below the dash of the entry above`,
  ],
  [
    'a dash too far to the left',
    `${GOOD} - url: ${URL}\n`,
    `3:2: ${NOT}indented by 1, and no line above is; expected 0 or 2 or 4`,
  ],
  [
    'a section indented as the list above it',
    `${GOOD}  detect:\n    interval: 1s\n`,
    `3:3: ${NOT}a key among the entries of a list; expected it to be indented as the key of the list, or as those inside an entry`,
  ],
  [
    'keys that are not indented',
    detect('interval: 1s'),
    '4:1: interval: unknown key; did you mean detect.interval?',
  ],
  [
    'a key indented too little',
    detect('  interval: 1s\n timeout: 2s'),
    `5:2: ${NOT}indented by 1, and no line above is; expected 0 or 2`,
  ],
  [
    'a key indented too far',
    detect('  interval: 1s\n    timeout: 2s'),
    `5:5: ${NOT}indented deeper than line 4, which has a value already; expected 0 or 2`,
  ],
  ['a tab', detect('\tinterval: 1s'), `4:1: ${NOT}a tab as indentation: use spaces`],
  [
    'a no-break space',
    `coordinators:\n\u00a0\u00a0- url: ${URL}\n`,
    '2:1: a blank that is no ordinary one, as copied from a web page: use spaces',
  ],
  ['no colon after a section', `${GOOD}detect\n  interval: 1s\n`, `3:7: ${NOT}${NO_COLON}: “detect: …”`],
  ['no colon after a key', detect('  interval 1s'), `4:11: ${NO_COLON}: “interval: …”`],
  [
    'no colon after one of two keys',
    detect('  interval 1s\n  timeout: 2s'),
    `4:11: ${NOT}${NO_COLON}: “interval: …”`,
  ],
  ['an equals sign', detect('  interval = 1s'), '4:12: expected “interval: …”, got “=” instead of the colon'],
  ['no blank after the colon', detect('  interval:1s'), `4:12: ${NO_BLANK}: “interval: …”`],
  [
    'no blank after one of two',
    detect('  interval:1s\n  timeout: 2s'),
    `4:12: ${NOT}${NO_BLANK}: “interval: …”`,
  ],
  ['no blank after a URL’s key', `coordinators:\n  - url:${URL}\n`, `2:9: ${NO_BLANK}: “url: …”`],
  [
    'no blank before a bracket',
    `${GOOD}addresses:\n  w1b:5432:{ connect: "w1b:1" }\n`,
    `4:12: ${NOT}${NO_BLANK}`,
  ],
  ['a key twice', `${GOOD}detect: {}\ndetect: {}\n`, `4:1: ${NOT}this key stands here twice`],
  ['a second document', `${GOOD}---\ndetect: {}\n`, `3:1: ${NOT}a second document begins here`],
  [
    'a mapping instead of a list',
    `coordinators:\n  url: ${URL}\n`,
    '1:1: coordinators: expected a list, got a mapping: begin each entry with “- ”',
  ],
  [
    'text instead of a list',
    `coordinators: ${URL}\n`,
    '1:1: coordinators: expected a list, got text: begin each entry with “- ”',
  ],
  [
    'text instead of a mapping',
    `coordinators:\n  - ${URL}\n`,
    '2:5: coordinators[0]: expected a mapping, got text: write keys, such as “url: …”',
  ],
  [
    'a list instead of a mapping',
    detect('  - interval: 1s'),
    '3:1: detect: expected a mapping, got a list: write its keys without “- ”',
  ],
  [
    'one entry as two',
    `${GOOD}standbys:\n  - group: 1\n  - address: w1b:5432\n`,
    '4:5: standbys[0].address: expected an address such as db1.example:5432, got nothing',
    '5:5: standbys[1].group: expected a number, got nothing',
  ],
  ['an unknown key', detect('  intervall: 1s'), '4:3: detect.intervall: unknown key; did you mean interval?'],
  ['a quote that is not closed', `coordinators:\n  - url: "${URL}\n`, `2:10: ${NOT}this quote is not closed`],
  [
    'typographic quotes',
    `coordinators:\n  - url: “${URL}”\n`,
    `2:10: read as part of the text; expected plain quotes, " or ', instead of typographic ones`,
  ],
  ['a password with “: ”', password('hunter2: b'), `4:13: ${NOT}a value with “: ” in it needs quotes`],
  ...(
    [
      ['@hunter2', NOT, '@, % or `'],
      ['%hunter2', NOT, '@, % or `'],
      ['`hunter2', NOT, '@, % or `'],
      ['!hunter2', NOT, '!'],
      ['*hunter2', NOT, '* or &'],
      ['&hunter2', '', '* or &'],
      ['|hunter2', NOT, '| or >'],
    ] as const
  ).map(([text, not, marks]): [string, string, string] => [
    `a password ${text.slice(0, 1)}…`,
    password(text),
    `4:13: ${not}text that begins with ${marks} needs quotes`,
  ]),
  [
    'a password #…',
    password('#hunter2'),
    '4:13: read as a comment, so that the key has no value; text that begins with # needs quotes',
  ],
  ...['{hunter2', '[hunter2'].map((text): [string, string, string] => [
    `a password ${text.slice(0, 1)}…`,
    password(text),
    `4:13: ${NOT}this bracket is not closed; text that begins with { or [ needs quotes`,
  ]),
  [
    'a password {…}',
    password('{hunter2}'),
    '4:3: connection.password: expected text, got a mapping: text that begins with { or [ needs quotes',
  ],
  ['a password "…', password('"hunter2'), `4:13: ${NOT}this quote is not closed`],
  [
    'a quote inside quotes',
    password(`'hun'ter2'`),
    `4:13: ${NOT}the quotes end before this; a quote inside '…' is written twice, inside "…" with a backslash`,
  ],
  [
    'a backslash inside quotes',
    password('"hun\\ter2\\c"'),
    `4:13: ${NOT}inside "…" a backslash is written twice; inside '…' it is as it is`,
  ],
  [
    'a password of digits',
    password('12345'),
    '4:3: connection.password: expected text, got a number: put it in quotes',
  ],
]

async function checked(yaml: string, name = 'citus-ha.yaml') {
  const directory = await mkdtemp(join(tmpdir(), 'citus-ha-slips-'))
  const file = join(directory, name)
  await writeFile(file, yaml, { mode: 0o600 })
  const { problems, warnings } = await checkConfig({ env: {} }, file)
  await rm(directory, { recursive: true })
  const bare = (line: string) => line.replace(`${file}:`, '')
  return { problems: problems.map(bare), warnings: warnings.map(bare) }
}

describe('what is mistyped', () => {
  it.each(SLIPS)('%s: is named with its place, and what was expected', async (_, yaml, ...says) => {
    const { problems } = await checked(yaml)
    expect(problems).toEqual(says)
    expect(problems.join()).not.toMatch(/hun|ter2/)
  })

  test('a password that a # ends is warned of, and a comment is not', async () => {
    const says =
      '4: what follows “ #” is a comment, and no part of the value: text with “ #” in it needs quotes'
    expect(await checked(password('hunter2 #more'))).toEqual({ problems: [], warnings: [says] })
    expect(await checked(password('hunter2 # ours'))).toEqual({ problems: [], warnings: [] })
    expect(await checked(password('"hunter2 #more"'))).toEqual({ problems: [], warnings: [] })
  })

  test('nothing is, in a file that is right', async () => {
    const tree = schemaTree(configSchema({}))
    const keys = new Set(namesIn(tree))
    const example = exampleFile(tree, null)
    const whole = example.replaceAll(/^( *)#(?! )/gm, '$1')
    const value = {
      coordinators: [{ url: URL }],
      detect: { interval: '1s' },
      notify: { slack: [{ urlFile: '/x' }] },
    }
    for (const text of [
      example,
      whole,
      JSON.stringify(value),
      JSON.stringify(value, null, 2),
      stringify(value),
      stringify(value, { indentSeq: false, indent: 4 }),
      password('|\n    hunter2\n   #'),
    ])
      expect(slipsIn(text, keys)).toEqual([])
  })
})
