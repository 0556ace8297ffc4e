import { spawn } from 'node:child_process'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Account } from '../../src/demo/account.ts'

const MAIN = fileURLToPath(new URL('../../dist/bin/citus-ha.js', import.meta.url))

/** A fenced block of a page, with what stands behind its language: ```` ```sh do w1a ````. */
export interface Block {
  /** The heading of level 2 that it is under. */
  readonly heading: string
  /** The words behind `sh`. */
  readonly marks: readonly string[]
  readonly text: string
}

/** Every block of `docs/` page that is marked to be run, in order. */
export async function markedBlocks(page: string): Promise<Block[]> {
  const text = await readFile(new URL(`../../docs/${page}`, import.meta.url), 'utf8')
  return text.split(/^## /m).flatMap((section) => {
    const heading = section.split('\n', 1)[0] ?? ''
    const blocks = [...section.matchAll(/^```sh (\S.*)\n([\s\S]*?)^```$/gm)]
    return blocks.map(([, marks = '', body = '']) => ({ heading, marks: marks.split(' '), text: body }))
  })
}

/** What a block printed, both streams together, and its exit code. */
export interface Ran {
  readonly exitCode: number | null
  readonly output: string
}

/** Runs a block in bash, as the account that PostgreSQL runs as; the first line that fails ends it. */
export async function runBlock(
  text: string,
  { account, env }: { readonly account: Account | null; readonly env: NodeJS.ProcessEnv },
): Promise<Ran> {
  const child = spawn('bash', ['-ec', text], { stdio: ['ignore', 'pipe', 'pipe'], env, cwd: '/', ...account })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk
    })
  // Not `close`: a server that was started keeps these pipes open.
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', resolve)
  })
  return { exitCode, output }
}

/** A directory for the PATH, with programs that a page names: each by the shell script that stands for it. */
export async function programs(
  directory: string,
  scripts: Readonly<Record<string, string>>,
): Promise<string> {
  const bin = join(directory, 'bin')
  await mkdir(bin, { recursive: true })
  const all = { 'citus-ha': `exec ${process.execPath} ${MAIN} "$@"`, ...scripts }
  for (const [name, script] of Object.entries(all)) {
    await writeFile(join(bin, name), `#!/bin/bash\n${script}\n`)
    await chmod(join(bin, name), 0o755)
  }
  return bin
}
