import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ConnectionSettings } from '../../src/config/connection.ts'
import type { ControlConnect } from '../../src/config/control.ts'
import { readConfig } from '../../src/config/load.ts'
import { configSchema } from '../../src/config/schema.ts'
import { readSecret } from '../../src/config/secret-file.ts'
import type { Environment } from '../../src/config/url.ts'
import { resolveTarget } from '../../src/db/target.ts'
import { callControl } from '../../src/http/control/client.ts'
import { readFiles } from '../../src/http/control/serve.ts'

let home: string
const at = (name: string) => join(home, name)
const socket = createServer()

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'citus-ha-files-'))
  execFileSync('mkfifo', ['-m', '600', at('pipe')])
  await once(socket.listen(at('socket')), 'listening')
  await chmod(at('socket'), 0o600)
  await writeFile(at('pem'), 'PEM', { mode: 0o600 })
  await writeFile(at('large'), '', { mode: 0o600 })
  await truncate(at('large'), 1024 ** 3)
})
afterAll(async () => {
  socket.close()
  await rm(home, { recursive: true })
})

/** What is said of it: an error, or the warnings. */
type Naming = (file: string) => Promise<unknown>

const connecting = async (settings: ConnectionSettings, env: Environment = {}) => {
  const { warnings } = await resolveTarget({ host: 'h', port: 1 }, 'app', settings, { HOME: home, ...env })
  if (warnings.length > 0) throw new Error(warnings.join('; '))
}
const listening = async (tls: { cert: string; key: string; clientCa: string | null }) =>
  await readFiles({ listen: null, token: null, tls, connect: { url: '', ca: null, cert: null, key: null } })
const calling = async (files: Partial<ControlConnect>) => {
  const connect = { url: 'https://127.0.0.1:1', ca: null, cert: null, key: null, ...files }
  const control = { listen: null, token: null, tls: null, connect }
  const config = { ...configSchema({}).parse({}), control }
  const { signal } = new AbortController()
  const call = { method: 'GET', path: '/v1/status', body: null, timeoutMs: 1000, signal } as const
  const answer = await callControl(config, call)
  throw new Error(answer.kind === 'unavailable' ? answer.why : answer.kind)
}

const SETTINGS: readonly (readonly [string, Naming])[] = [
  ['--config', (file) => readConfig({ env: {}, file })],
  ['CITUS_HA_CONFIG', (file) => readConfig({ env: { CITUS_HA_CONFIG: file } })],
  ['tokenFile, secretFile', (file) => readSecret({ kind: 'file', file }, () => null)],
  ['passfile', (passfile) => connecting({ passfile })],
  ['PGPASSFILE', (PGPASSFILE) => connecting({}, { PGPASSFILE })],
  ['sslrootcert', (sslrootcert) => connecting({ sslmode: 'verify-ca', sslrootcert })],
  ['PGSSLROOTCERT', (PGSSLROOTCERT) => connecting({ sslmode: 'verify-ca' }, { PGSSLROOTCERT })],
  ['sslcert', (sslcert) => connecting({ sslmode: 'require', sslcert })],
  ['sslkey', (sslkey) => connecting({ sslmode: 'require', sslcert: at('pem'), sslkey })],
  ['sslcrl', (sslcrl) => connecting({ sslmode: 'verify-ca', sslrootcert: at('pem'), sslcrl })],
  ['control.tls.cert', (cert) => listening({ cert, key: at('pem'), clientCa: null })],
  ['control.tls.key', (key) => listening({ cert: at('pem'), key, clientCa: null })],
  ['control.tls.clientCa', (clientCa) => listening({ cert: at('pem'), key: at('pem'), clientCa })],
  ['control.connect.ca', (ca) => calling({ ca })],
  ['control.connect.cert', (cert) => calling({ cert, key: at('pem') })],
  ['control.connect.key', (key) => calling({ cert: at('pem'), key })],
]

describe.each(SETTINGS)('%s', (_, naming) => {
  test.each([
    ['a pipe', () => at('pipe'), 'not a regular file'],
    ['a socket', () => at('socket'), 'not a regular file'],
    ['a device', () => '/dev/zero', 'not a regular file'],
    ['a directory', () => home, 'is a directory'],
    ['a file without an end', () => at('large'), 'larger than 16 MiB'],
  ])('is not read where it names %s', async (_, file, why) => {
    await expect(naming(file())).rejects.toThrow(`${file()}: ${why}`)
  })
})

test('SSL_CERT_FILE that is a pipe is passed over', async () => {
  await connecting({ sslmode: 'verify-full', sslrootcert: 'system' }, { SSL_CERT_FILE: at('pipe') })
})

test('what a shell has opened is read, up to the same length', () => {
  const check = (from: string) => {
    const script = `"$0" dist/bin/citus-ha.js config check ${from} 2>&1`
    return execFileSync('bash', ['-c', `${script}; true`, process.execPath], { encoding: 'utf8' })
  }
  const yaml = `'coordinators: [{ url: "postgres://u@h/a?sslmode=verify-ca&sslrootcert=/dev/stdin" }]'`
  expect(check(`<(printf %s ${yaml}) < ${at('pem')}`)).toMatch(/^\/dev\/fd\/\d+: no problem found$/m)
  expect(check('<(yes)')).toMatch(/\/dev\/fd\/\d+: larger than 16 MiB/)
})
