import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { serveWatch } from '../../src/cli/watch.ts'
import { waitUntil } from '../../src/demo/wait.ts'

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

describe('a configuration that is read again while the watch ends', () => {
  it('opens no door that nobody closes', async () => {
    const [coordinator, before, after] = [await freePort(), await freePort(), await freePort()]
    const slow = join(directory, 'slow')
    const config = (port: number, rest: object = {}) =>
      stringify({
        coordinators: [{ url: `postgres://citus_ha@127.0.0.1:${coordinator}/app` }],
        http: { listen: `127.0.0.1:${port}` },
        ...rest,
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
    // A token that is only read once somebody has written it: the reload is under way until then.
    execFileSync('mkfifo', [slow])
    await writeFile(file, config(after, { control: { listen: '127.0.0.1:0', tokenFile: slow } }))
    process.emit('SIGHUP')
    stop.abort()
    let looks = 0
    await waitUntil('it has ended, or waits for the reload', () => says('"ended"') || ++looks > 30)
    // As often as somebody reads it.
    const script = 'while :; do echo the-token-0123456789abcdef > "$0"; done'
    const writer = spawn('sh', ['-c', script, slow])
    await served.finally(() => writer.kill('SIGKILL'))
    const listener = createServer().listen(after, '127.0.0.1')
    await once(listener, 'listening')
    listener.close()
    expect(told.at(-1)).toContain('"ended"')
  })
})

describe('a configuration of which one part can not be had', () => {
  it('changes nothing: the other parts stay as they were too', async () => {
    const [coordinator, control, before] = [await freePort(), await freePort(), await freePort()]
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port: inUse } = taken.address() as { port: number }
    const config = (http: number, token: string) =>
      stringify({
        coordinators: [{ url: `postgres://citus_ha@127.0.0.1:${coordinator}/app` }],
        http: { listen: `127.0.0.1:${http}` },
        control: { listen: `127.0.0.1:${control}`, token },
      })
    const [oldToken, newToken] = ['the-old-token-0123456789', 'the-new-token-0123456789']
    const file = join(directory, 'citus-ha.yaml')
    await writeFile(file, config(before, oldToken))
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
    const statusWith = async (token: string) => {
      const headers = { authorization: `Bearer ${token}` }
      return (await fetch(`http://127.0.0.1:${control}/v1/history`, { headers })).status
    }
    try {
      await waitUntil('it watches', () => says('"watching"'))
      expect(await statusWith(newToken)).toBe(401)
      await writeFile(file, config(inUse, newToken))
      process.emit('SIGHUP')
      await waitUntil('it says that nothing has changed', () => says('stays as it was'))
      expect(await statusWith(newToken)).toBe(401)
      expect(await statusWith(oldToken)).not.toBe(401)
      expect((await fetch(`http://127.0.0.1:${before}/healthz`)).status).not.toBe(404)
    } finally {
      stop.abort()
      await served
      taken.close()
    }
  })
})
