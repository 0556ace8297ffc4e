import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, posix } from 'node:path'
import { promisify } from 'node:util'
import { publint } from 'publint'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { headingsOf } from '../support/pages.ts'

const exec = promisify(execFile)
const ROOT = new URL('../..', import.meta.url).pathname
const packed = z.tuple([
  z.object({
    filename: z.string(),
    version: z.string(),
    files: z.array(z.object({ path: z.string(), mode: z.number() })),
  }),
])
const manifestSchema = z.object({
  version: z.string(),
  man: z.array(z.string()).nonempty(),
  exports: z.object({ '.': z.object({ types: z.string(), default: z.string() }) }),
})

const lockSchema = z.object({
  packages: z.record(z.string(), z.looseObject({ version: z.string().optional() })),
})

describe('the package that npm pack makes', () => {
  let directory: string
  let tarball: z.infer<typeof packed>[0]
  let manifest: z.infer<typeof manifestSchema>

  /** As a user types it; `--offline` and `--no-install` keep npm from fetching anything else. */
  const citusHa = (...args: string[]) =>
    exec('npx', ['--no-install', 'citus-ha', ...args], { cwd: directory, env: environment() })

  const environment = () => ({ ...process.env, npm_config_loglevel: 'error', NODE_OPTIONS: '' })
  const npm = (args: readonly string[], cwd: string) => exec('npm', [...args], { cwd, env: environment() })
  const paths = () => tarball.files.map(({ path }) => path)

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'citus-ha-package-'))
    // The tests' global setup has built dist; `prepare` would build it again.
    const { stdout } = await npm(
      ['pack', '--json', '--ignore-scripts', '--pack-destination', directory],
      ROOT,
    )
    tarball = packed.parse(JSON.parse(stdout))[0]
    manifest = manifestSchema.parse(JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')))
    await writeFile(join(directory, 'package.json'), '{ "name": "user", "private": true, "type": "module" }')
    const install = [
      'install',
      '--omit=dev',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--prefer-offline',
    ]
    await npm([...install, join(directory, tarball.filename)], directory)
  })
  afterAll(async () => {
    if (directory) await rm(directory, { recursive: true, force: true })
  })

  it('holds the program, its types and all SQL, and nothing of sources or tests', () => {
    const unexpected = paths().filter(
      (path) =>
        !/^(dist|sql|docs|deploy)\//.test(path) &&
        ![
          'package.json',
          'npm-shrinkwrap.json',
          'README.md',
          'SECURITY.md',
          'CHANGELOG.md',
          'CONTRIBUTING.md',
          'LICENSE',
        ].includes(path),
    )
    expect(unexpected).toEqual([])
    expect(paths().filter((path) => /\.test\.|(?<!\.d)\.ts$|tsconfig/.test(path))).toEqual([])
    for (const path of [
      'dist/bin/citus-ha.js',
      'dist/bin/citus-ha.js.map',
      'dist/bin/THIRD-PARTY-NOTICES.txt',
      'dist/page/index.html',
      'dist/page/app.js',
      'dist/page/app.css',
      'dist/page/THIRD-PARTY-NOTICES.txt',
      'dist/cli/program.d.ts',
      'sql/install/001_schema.sql',
    ]) {
      expect(paths()).toContain(path)
    }
    for (const directory of ['install', 'probe', 'standin']) {
      expect(paths().filter((path) => path.startsWith(`sql/${directory}/`)).length).toBeGreaterThan(1)
    }
    const scripts = paths().filter((path) => path.endsWith('.js') && !/^dist\/(bin|page)\//.test(path))
    expect(paths()).toEqual(expect.arrayContaining(scripts.map((path) => path.replace(/\.js$/, '.d.ts'))))
  })

  it('has a page at the end of each link, and the heading that it names', async () => {
    const pages = paths().filter((path) => path.endsWith('.md') && !path.startsWith('dist/'))
    expect(pages.length).toBeGreaterThan(20)
    const texts = new Map(
      await Promise.all(pages.map(async (page) => [page, await readFile(join(ROOT, page), 'utf8')] as const)),
    )
    const dead: string[] = []
    for (const [page, text] of texts) {
      const prose = text.replace(/^```[\s\S]*?^```/gm, '')
      for (const [, link = ''] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(link)) continue
        const [to = '', anchor] = link.split('#')
        const path = to === '' ? page : posix.join(posix.dirname(page), to)
        const isThere = paths().some((each) => each === path || each.startsWith(`${path}/`))
        const headings = headingsOf(texts.get(path) ?? '')
        if (!isThere || (anchor !== undefined && !headings.has(anchor))) dead.push(`${page}: ${link}`)
      }
    }
    expect(dead).toEqual([])
  })

  it('brings the versions of other packages that were tested, for npm to heed when it comes from a registry', async () => {
    expect(paths()).toContain('npm-shrinkwrap.json')
    const read = async (name: string) => JSON.parse(await readFile(join(ROOT, name), 'utf8'))
    const { version, dependencies } = await read('package.json')
    const { packages } = lockSchema.parse(await read('npm-shrinkwrap.json'))
    expect(packages['']).toMatchObject({ version, dependencies })
    for (const name of Object.keys(dependencies))
      expect(packages[`node_modules/${name}`]?.version, name).toMatch(/^\d/)
  })

  it('installs a citus-ha that says its version, its help and its rules', async () => {
    const about = / \((?:commit [0-9a-f]+, )?schema citus_ha migration \d+, Node\.js v[\d.]+ on \w+ \w+\)\n$/
    expect(await citusHa('--version')).toMatchObject({
      stdout: expect.stringMatching(new RegExp(`^${manifest.version.replaceAll('.', '\\.')}${about.source}`)),
      stderr: '',
    })
    const help = await citusHa('--help')
    for (const command of [
      'install',
      'status',
      'doctor',
      'reconcile',
      'pause',
      'resume',
      'recover',
      'history',
      'rules',
    ]) {
      expect(help.stdout).toMatch(new RegExp(`^ +${command}\\b`, 'm'))
    }
    const rules = await citusHa('rules')
    expect(rules.stdout).toMatch(/^\S+ +promoted /m)
    expect(rules.stderr).toBe('')
  })

  it('ends with exit code 2 and one line for a command line that is wrong', async () => {
    const wrong = citusHa('reconcile', '--coordinator', 'mysql://somewhere')
    await expect(wrong).rejects.toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/^.+\n$/),
    })
  })

  /** As the strictest of users has it; ours are looked through as well: nobody need turn that off. */
  async function compile(file: string): Promise<void> {
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    const strict = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess']
    const whole = ['--noEmit', '--module', 'nodenext', '--target', 'es2022', '--skipLibCheck', 'false']
    const typed = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types'), file]
    await exec(process.execPath, [tsc, ...strict, ...whole, ...typed], { cwd: directory }).catch(
      ({ stdout }: { readonly stdout: string }) => {
        throw new Error(stdout)
      },
    )
  }

  it('compiles the library’s example, and nothing that the types forbid', async () => {
    const page = await readFile(join(directory, 'node_modules/citus-ha/docs/library.md'), 'utf8')
    const example = /```ts\n([\s\S]*?)```/.exec(page)?.[1] ?? ''
    expect(example).toContain("from 'citus-ha'")
    await writeFile(join(directory, 'example.ts'), example)
    await compile('example.ts')
    await writeFile(join(directory, 'wrong.ts'), example.replace('waitMs: 10_000', "waitMs: '10s'"))
    await expect(compile('wrong.ts')).rejects.toThrow(/wrong\.ts.*TS2322/)
  })

  it('has nothing that publint finds', async () => {
    const { messages } = await publint({
      pkgDir: join(directory, 'node_modules/citus-ha'),
      strict: true,
      pack: false,
    })
    expect(messages).toEqual([])
  })

  it('has types that every resolution finds, but for require(), which it has not', async () => {
    const attw = join(ROOT, 'node_modules/@arethetypeswrong/cli/dist/index.js')
    const asked = [join(directory, tarball.filename), '--profile', 'esm-only', '--format', 'json']
    const { stdout } = await exec(process.execPath, [attw, ...asked], { maxBuffer: 64 * 1024 * 1024 })
    expect(JSON.parse(stdout)).toMatchObject({ analysis: { types: { kind: 'included' } } })
  })

  it('brings its manual pages to where npm puts them', () => {
    expect(paths()).toEqual(expect.arrayContaining(manifest.man.map((path) => path.replace('./', ''))))
  })

  it('gives a TypeScript program what it exports, with types', async () => {
    const { types, default: main } = manifest.exports['.']
    expect(paths()).toEqual(expect.arrayContaining([types, main].map((path) => path.replace('./', ''))))
    await writeFile(
      join(directory, 'program.ts'),
      "import * as citusHa from 'citus-ha'\nexport const exported: readonly string[] = Object.keys(citusHa)\n",
    )
    await compile('program.ts')
    const load = "import('citus-ha').then((m) => console.log(Object.keys(m).length > 0))"
    expect((await exec(process.execPath, ['-e', load], { cwd: directory })).stdout).toBe('true\n')
  })
})
