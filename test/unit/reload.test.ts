import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { serveWatch } from '../../src/cli/watch.ts'
import { waitUntil } from '../../src/demo/wait.ts'

describe('a configuration that is read again while the watch ends', () => {
  let directory: string
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'citus-ha-reload-'))
  })
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true })
  })

  /** A port at which nobody listens now. */
  async function freePort(): Promise<number> {
    const listener = createServer().listen(0, '127.0.0.1')
    await once(listener, 'listening')
    const { port } = listener.address() as { port: number }
    listener.close()
    await once(listener, 'close')
    return port
  }

  it('opens no door that nobody closes', async () => {
    const [coordinator, before, after] = [await freePort(), await freePort(), await freePort()]
    const config = (port: number) =>
      stringify({
        coordinators: [{ url: `postgres://citus_ha@127.0.0.1:${coordinator}/app` }],
        http: { listen: `127.0.0.1:${port}` },
      })
    const file = join(directory, 'citus-ha.yaml')
    await writeFile(file, config(before))
    const told: string[] = []
    const says = (text: string) => told.some((line) => line.includes(text))
    const stop = new AbortController()
    const served = serveWatch(
      { config: file },
      {
        stdout: { write: () => true },
        stderr: { write: (line) => told.push(line) },
        env: { HOME: directory },
        signal: stop.signal,
      },
    )
    await waitUntil('it watches', () => says('"watching"'))
    // A file that is only read once somebody has written it: the reload is under way until then.
    const slow = join(directory, 'slow')
    execFileSync('mkfifo', [slow])
    await rename(slow, file)
    process.emit('SIGHUP')
    stop.abort()
    let looks = 0
    await waitUntil('it has ended, or waits for the reload', () => says('"ended"') || ++looks > 30)
    await writeFile(file, config(after))
    await served
    const listener = createServer().listen(after, '127.0.0.1')
    await once(listener, 'listening')
    listener.close()
    expect(told.at(-1)).toContain('"ended"')
  })
})
