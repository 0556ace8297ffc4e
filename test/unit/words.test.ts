import { readdir, readFile } from 'node:fs/promises'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'
import { redact } from '../../src/config/redact.ts'

const SOURCES = new URL('../../src/', import.meta.url)

/** Words that docs/style.md replaces, and what they are replaced by. */
const INSTEAD: readonly (readonly [RegExp, string])[] = [
  [/\bvouch/i, 'named as promoted'],
  [/\bwho(?:m|ever|mever)\b/i, 'the name of the server, session or role'],
  [/\b(?:no|some)body\b/i, 'the name of the server, session or role'],
  [/\bmend(?:s|ed|ing)?\b(?!:)/i, 'fix'], // `mend:` is the label of doctor, as its key in JSON
  [/\bcom(?:e|es|ing) to (?:nothing|an end|no end)\b/i, 'fail; end'],
  [/\bgo(?:es)? on\b/i, 'continue'],
  [/\bcarr(?:y|ies|ied) on\b/i, 'complete'],
  [/\blook(?:s|ed)? (?:at|into)\b/i, 'read, check, survey'],
  [/\btold\b/i, 'reported'],
  [/’s line\b|\bof (?:one|this|that) line\b/i, 'timeline history'],
  [/\banew\b/i, 'again'],
  [/\bin the way\b/i, 'blocking session, blocked by'],
  [/\ball the same\b/i, 'nevertheless'],
  [/\bunder way\b/i, 'running'],
  [/\bours?\b/i, 'citus-ha’s'],
  [/\bliv(?:es|ing)\b/i, 'running'],
  [/\bruns on\b/i, 'is still running'],
  [/\b(?:is|are|not) right\b/i, 'up to date'],
  [/n[’']t\b/i, 'cannot, do not'],
  [/[a-z]'(?:[a-z]|(?= [a-z]))/i, 'the apostrophe ’'],
]

/** Texts that may have such a word, by what they contain. */
const ALLOWED: readonly string[] = [
  'no account `postgres` or `nobody`', // the system's user of that name
  'carried on', // a kind of result in the code
]

/** What a person may read: words with a blank between them. Statements of SQL and scripts of a shell are none of these. */
const isText = (text: string): boolean =>
  /[a-z][a-z’,;:)]* [(“"a-z]/i.test(text) && !/^\s*(?:SELECT|DO|BEGIN|DECLARE|WITH|UPDATE|trap)\b/i.test(text)

/** Every literal of a file, the parts of templates by themselves. */
function literalsIn(source: string, name: string): { readonly line: number; readonly text: string }[] {
  const file = ts.createSourceFile(name, source, ts.ScriptTarget.Latest)
  const found: { line: number; text: string }[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isTypeNode(node)) return
    if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node))
      found.push({
        line: file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1,
        text: node.text,
      })
    ts.forEachChild(node, visit)
  }
  visit(file)
  return found
}

function flawsIn(source: string, name: string): string[] {
  return literalsIn(source, name)
    .filter(({ text }) => isText(text) && !ALLOWED.some((allowed) => text.includes(allowed)))
    .flatMap(({ line, text }) =>
      INSTEAD.filter(([word]) => word.test(text)).map(
        ([word, instead]) =>
          `${name}:${line}: “${word.exec(text)?.[0]}”: write ${instead}, in: ${text.slice(0, 90)}`,
      ),
    )
}

describe('messages for people', () => {
  test.each([
    ['`the node vouched for does not answer`', 1],
    ["'writes go on'", 1],
    ['"it can\'t be read"', 2],
    ["`the group's primary`", 1],
    ["'the group’s primary'", 0],
    ["'SELECT told FROM somebody'", 0],
    ["// nobody is told\n'split-brain'", 0],
  ])('%s has %i words that docs/style.md replaces', (source, flaws) => {
    expect(flawsIn(source, 'a.ts')).toHaveLength(flaws)
  })

  test('have none of the words that docs/style.md replaces', async () => {
    const names = (await readdir(SOURCES, { recursive: true })).filter((name) => name.endsWith('.ts'))
    expect(names.length).toBeGreaterThan(200)
    const flaws = await Promise.all(
      names.map(async (name) => flawsIn(await readFile(new URL(name, SOURCES), 'utf8'), `src/${name}`)),
    )
    expect(flaws.flat().sort()).toEqual([])
  })

  test('are shown in full: what takes passwords out of a text leaves them as they are', async () => {
    expect(redact('to ask for the password: set PGPASSWORD')).toContain('***')
    const names = (await readdir(SOURCES, { recursive: true })).filter((name) => name.endsWith('.ts'))
    const cut = await Promise.all(
      names.map(async (name) =>
        literalsIn(await readFile(new URL(name, SOURCES), 'utf8'), name)
          // A placeholder: doctor prints its command as it is.
          .filter(({ text }) => redact(text) !== text && !text.includes(`'password=PASSWORD'`))
          .map(({ line, text }) => `src/${name}:${line}: ${text.slice(0, 90)}`),
      ),
    )
    expect(cut.flat()).toEqual([])
  })

  test('are what docs/style.md says: every word here stands there', async () => {
    const page = await readFile(new URL('../../docs/style.md', import.meta.url), 'utf8')
    for (const [, instead] of INSTEAD) expect(page).toContain(instead)
  })
})

test('errors that functions of the schema raise have none of the words that docs/style.md replaces', async () => {
  const directory = new URL('../../sql/functions/', import.meta.url)
  const names = (await readdir(directory)).filter((name) => name.endsWith('.sql'))
  const raised = await Promise.all(
    names.map(async (name) =>
      [...(await readFile(new URL(name, directory), 'utf8')).matchAll(/RAISE EXCEPTION '([^']*)'/g)].map(
        ([, text = '']) => `${name}: ${text}`,
      ),
    ),
  )
  expect(raised.flat().length).toBeGreaterThan(20)
  expect(raised.flat().filter((text) => INSTEAD.some(([word]) => word.test(text)))).toEqual([])
})

describe('pages', () => {
  const ROOT = new URL('../../', import.meta.url)
  /** What a page may say that a message may not: a machine is what a program runs on, and an apostrophe may be straight. */
  const NOT_HERE = ['is still running', 'the apostrophe ’']
  const FOR_PAGES = INSTEAD.filter(([, instead]) => !NOT_HERE.includes(instead))
  /** Lines that name a test, an alert or a code by its name. */
  const NAMES = /-told|nobodyleads|^### |\(in the code\)/

  const blank = (text: string) => text.replace(/[^\n]/g, ' ')
  const flawsOf = (page: string, name: string): string[] =>
    page
      .replace(/```.*?```/gs, blank)
      .replace(/`[^`\n]*`|"[^"\n]*"/g, blank)
      .split('\n')
      .flatMap((line, i) =>
        FOR_PAGES.filter(([word]) => word.test(line) && !NAMES.test(line)).map(
          ([word, instead]) => `${name}:${i + 1}: “${word.exec(line)?.[0]}”: write ${instead}`,
        ),
      )

  test.each([
    ['Whoever carries it out', 1],
    ['`nobody` has a shell', 0],
    ['"wakes nobody when it commits"', 0],
  ])('%s has %i words that docs/style.md replaces', (page, flaws) => {
    expect(flawsOf(page, 'a.md')).toHaveLength(flaws)
  })

  test('have none of the words that docs/style.md replaces', async () => {
    const inDocs = (await readdir(new URL('docs/', ROOT), { recursive: true }))
      .filter((name) => name.endsWith('.md') && name !== 'style.md')
      .map((name) => `docs/${name}`)
    expect(inDocs.length).toBeGreaterThan(30)
    const names = [...inDocs, 'README.md', 'CONTRIBUTING.md', 'SECURITY.md']
    const flaws = await Promise.all(
      names.map(async (name) => flawsOf(await readFile(new URL(name, ROOT), 'utf8'), name)),
    )
    expect(flaws.flat().sort()).toEqual([])
  })
})
