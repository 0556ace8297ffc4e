import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readConfig } from '../../src/config/load.ts'
import { withService } from '../../src/config/service.ts'
import type { Environment } from '../../src/config/url.ts'
import { resolveTarget } from '../../src/db/target.ts'
import { formatAddress } from '../../src/model/node.ts'

const home = mkdtempSync(join(tmpdir(), 'citus-ha-service-'))
const machine = mkdtempSync(join(tmpdir(), 'citus-ha-service-'))
const own = join(home, '.pg_service.conf')
const shared = join(machine, 'pg_service.conf')

writeFileSync(
  own,
  `# one a cluster
[orders]
host=cn1
port=6000
  user=dba
user=second
dbname=app
application_name=console
connect_timeout=3

[bills]
hostaddr=10.0.0.5
[orders]
host=never
[twice]
host=cn2
hostaddr=10.0.0.6
channel_binding=require
[odd]
host=cn1
nosuch=1
[nested]
service=orders
[key]
sslpassword=hunter2
[form]
cn1
[port]
host=cn1
port=70000
[socket]
host=/run/postgresql
[bare]
user=dba
`,
)
writeFileSync(shared, '[shared]\nhost=cn9\n[orders]\nhost=never\n')

const envOf = (more: Environment): Environment => ({ HOME: home, PGSYSCONFDIR: machine, ...more })

/** Who would be connected to, as psql without an argument. */
async function target(more: Environment, coordinators?: readonly string[]): Promise<string> {
  const read = await readConfig({ env: envOf(more), ...(coordinators && { coordinators }) })
  const [first] = read.config.coordinators
  if (!first) throw new Error('no coordinator')
  const { user, database } = await resolveTarget(first.address, first.database, first.settings, read.env)
  return `${user}@${formatAddress(first.address)}/${database} by ${read.origin.coordinators}`
}

describe('PGSERVICE', () => {
  test.each<[string, Environment, readonly string[] | undefined, string]>([
    ['of the user’s file', { PGSERVICE: 'orders' }, undefined, 'dba@cn1:6000/app by PGSERVICE'],
    [
      'before the variables for the same',
      { PGSERVICE: 'orders', PGHOST: 'other', PGPORT: '1', PGUSER: 'me' },
      undefined,
      'dba@cn1:6000/app by PGSERVICE',
    ],
    [
      'behind a URL',
      { PGSERVICE: 'orders' },
      ['postgres://citus_ha@cn7:7000/bills'],
      'citus_ha@cn7:7000/bills by --coordinator',
    ],
    [
      'in what a URL does not say',
      { PGSERVICE: 'orders' },
      ['postgres://cn7'],
      'dba@cn7:6000/app by --coordinator',
    ],
    ['an address alone', { PGSERVICE: 'bills', PGUSER: 'me' }, undefined, 'me@10.0.0.5:5432/me by PGSERVICE'],
    [
      'of the machine’s file',
      { PGSERVICE: 'shared', PGUSER: 'me' },
      undefined,
      'me@cn9:5432/me by PGSERVICE',
    ],
    [
      'of a file that is named',
      { PGSERVICE: 'shared', PGSERVICEFILE: shared, PGUSER: 'me' },
      undefined,
      'me@cn9:5432/me by PGSERVICE',
    ],
    ['a variable’s host', { PGSERVICE: 'bare', PGHOST: 'cn3' }, undefined, 'dba@cn3:5432/dba by PGSERVICE'],
    [
      'none, and PGHOSTADDR',
      { PGHOSTADDR: '10.0.0.7', PGUSER: 'me' },
      undefined,
      'me@10.0.0.7:5432/me by PGHOST',
    ],
  ])('%s', async (_, env, coordinators, expected) => {
    expect(await target(env, coordinators)).toBe(expected)
  })

  test.each<[string, Environment, string]>([
    ['that nobody has', { PGSERVICE: 'none' }, `PGSERVICE: no service "none" in ${own}, ${shared}`],
    [
      'of a file that is not there',
      { PGSERVICE: 'orders', PGSERVICEFILE: '/nonexistent' },
      'PGSERVICEFILE: /nonexistent: no such file',
    ],
    ['with a parameter that is none', { PGSERVICE: 'odd' }, `${own}:21: unknown parameter "nosuch"`],
    [
      'that names another',
      { PGSERVICE: 'nested' },
      `${own}:23: citus-ha does not read service from a service file`,
    ],
    [
      'with a key’s password',
      { PGSERVICE: 'key' },
      `${own}:25: citus-ha does not read sslpassword from a service file`,
    ],
    ['that is not written as one', { PGSERVICE: 'form' }, `${own}:27: expected name=value`],
    [
      'with a port that is none',
      { PGSERVICE: 'port' },
      `${own}: [port] port: expected a port from 1 to 65535, got "70000"`,
    ],
    [
      'with a socket',
      { PGSERVICE: 'socket' },
      `${own}: [socket] host: a Unix socket is no address that other nodes can use`,
    ],
  ])('refused: one %s', async (_, env, expected) => {
    const refused = readConfig({ env: envOf(env) })
    await expect(refused).rejects.toMatchObject({ name: 'ConfigError', message: expected })
  })

  test('what is ignored of it is told', async () => {
    const { warnings } = await readConfig({ env: envOf({ PGSERVICE: 'twice' }) })
    expect(warnings).toEqual([
      `${own}:18: channel_binding is ignored: citus-ha sends passwords without channel binding`,
      `${own}: [twice] hostaddr is ignored: ${own}: [twice] host says which server is meant`,
    ])
  })

  test('no variable, no file', async () => {
    const env = { HOME: '/nonexistent', PGHOST: 'cn1' }
    expect((await withService(env)).env).toEqual(env)
  })
})
