import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Server } from '../../src/demo/server.ts'

/** Puts lines before all others of a server's pg_hba.conf, and has it read them. @returns what takes them out again */
export async function putInHba(server: Server, lines: readonly string[]): Promise<() => Promise<void>> {
  const file = join(server.directory, 'pg_hba.conf')
  const before = await readFile(file, 'utf8')
  const write = async (text: string) => {
    await writeFile(file, text)
    await server.reload()
  }
  await write(`${lines.join('\n')}\n${before}`)
  return () => write(before)
}
