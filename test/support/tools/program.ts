import { execFile } from 'node:child_process'
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { put, type Workshop } from './process.ts'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../../..', import.meta.url))

/** A call of `citus-ha` by a tool. */
export interface Call {
  readonly args: readonly string[]
  readonly exitCode: number
  readonly ms: number
  /** Both outputs. */
  readonly said: string
}

// Notes each call with its end, and gives its exit code. The unit separator parts arguments, the record separator fields.
const WRAPPER = `#!/bin/sh
began=$(date +%s%3N)
said=$(NODE MAIN "$@" 2>&1)
code=$?
printf '%s\\n' "$said"
{ printf '%s\\037' "$@"; printf '\\036%s\\036%s\\036%s\\035' "$code" "$(($(date +%s%3N) - began))" "$said"; } >> CALLS
exit $code
`

/** The command as tools call it, under their account. */
export class CallableProgram {
  readonly path: string
  readonly #calls: string

  private constructor(path: string, calls: string) {
    this.path = path
    this.#calls = calls
  }

  static async install(shop: Workshop): Promise<CallableProgram> {
    const main = join(await reachable(shop), 'dist', 'bin', 'citus-ha.js')
    const calls = await put(shop, join(shop.directory, 'calls'), '')
    const text = WRAPPER.replace('NODE', process.execPath).replace('MAIN', main).replace('CALLS', calls)
    const path = await put(shop, join(shop.directory, 'citus-ha'), text, 0o755)
    return new CallableProgram(path, calls)
  }

  /** From now on every call fails at once. */
  async breakIt(): Promise<void> {
    await writeFile(this.path, '#!/bin/sh\nexit 1\n')
  }

  /** All calls that have come to an end, in that order. */
  async calls(): Promise<Call[]> {
    const records = (await readFile(this.#calls, 'utf8')).split('\x1d').slice(0, -1)
    return records.map((record) => {
      const [args = '', exitCode = '', ms = '', said = ''] = record.split('\x1e')
      return { args: args.split('\x1f').slice(0, -1), exitCode: Number(exitCode), ms: Number(ms), said }
    })
  }
}

/** Where the tools' account can read the program: here, or a copy of what it needs. */
async function reachable(shop: Workshop): Promise<string> {
  const version = () =>
    run(process.execPath, [join(ROOT, 'dist/bin/citus-ha.js'), '--version'], { ...shop.account, cwd: '/' })
  if (await version().catch(() => null)) return ROOT
  const copy = join(shop.directory, 'program')
  await mkdir(copy)
  const { stdout } = await run('npm', ['ls', '--omit=dev', '--all', '--parseable'], { cwd: ROOT })
  const packages = stdout.trim().split('\n').slice(1)
  const parts = ['dist', 'sql', 'package.json', ...packages.map((path) => relative(ROOT, path))]
  for (const part of parts) await cp(join(ROOT, part), join(copy, part), { recursive: true })
  return copy
}
