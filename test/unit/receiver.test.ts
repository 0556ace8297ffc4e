import { describe, expect, test } from 'vitest'
import { readReceiver } from '../../src/observe/rows.ts'

/** As PostgreSQL 10.23 prints it for a standby whose primary_conninfo has a password and a quoted name. */
const conninfo = (where: string, name = 'the standby') =>
  `user=postgres password=******** dbname=replication ${where} application_name=${name} ` +
  'fallback_application_name=walreceiver sslmode=prefer sslcompression=1 krbsrvname=postgres target_session_attrs=any'

/** `pg_stat_get_wal_receiver()` of PostgreSQL 10 as JSON. */
const row = (parts: object) => ({ status: 'streaming', received_tli: 3, heard_ms_ago: 12, ...parts })

describe('where a WAL receiver streams from', () => {
  test.each([
    ['a name and a port', conninfo('host=db1.example port=6432'), { host: 'db1.example', port: 6432 }],
    ['an IPv6 address', conninfo('host=fd00::1 port=5432'), { host: 'fd00::1', port: 5432 }],
    ['a socket', conninfo('host=/run/postgresql port=5433'), { host: '/run/postgresql', port: 5433 }],
    ['an address alone', conninfo('hostaddr=10.0.0.1 port=5433'), { host: '10.0.0.1', port: 5433 }],
    ['both', conninfo('host=db1 hostaddr=10.0.0.1 port=5433'), { host: 'db1', port: 5433 }],
    ['no port', conninfo('host=db1'), { host: 'db1', port: 5432 }],
    ['no host', conninfo('port=5433'), null],
    ['several hosts', conninfo('host=db1,db2 port=5433'), null],
    ['several hosts and ports', conninfo('host=db1,db2 port=5433,5434'), null],
    ['the first of several left empty', conninfo('host=,db2 port=5433'), null],
    ['a name with a host in it', conninfo('host=db1 port=1', 'a host=b port=2'), { host: 'db1', port: 1 }],
    ['a name with a quote in it', conninfo('host=db1 port=1', "it's host='b'"), { host: 'db1', port: 1 }],
    ['what the role may not see', null, null],
  ] as const)('PostgreSQL 10: %s', (_, given, sender) => {
    expect(readReceiver(row({ conninfo: given }))).toEqual({
      status: 'streaming',
      sender,
      heardMsAgo: 12,
      timeline: 3,
    })
  })

  test('PostgreSQL 11 and later say it themselves, of several hosts too', () => {
    const seen = row({ conninfo: conninfo('host=db1,db2 port=1,2'), sender_host: 'db2', sender_port: 2 })
    expect(readReceiver(seen)?.sender).toEqual({ host: 'db2', port: 2 })
  })

  test.each([[null], [undefined], [row({ status: null })]])('no receiver: %j', (given) => {
    expect(readReceiver(given)).toBeNull()
  })
})
