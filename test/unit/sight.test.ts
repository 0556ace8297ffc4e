import { readFile } from 'node:fs/promises'
import { describe, expect, it, test } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { NO_CLAIMS } from '../../src/diagnose/facts.ts'
import type { Observation } from '../../src/model/observation.ts'
import { proves, SIGHTS, type Sight, tableOfSights } from '../../src/model/sight.ts'
import { testify } from '../../src/model/testify.ts'
import { observationOf } from '../../src/observe/failure.ts'
import { type Notice, sightOf } from '../../src/observe/sight.ts'
import {
  address,
  installed,
  left,
  lineage,
  mute,
  silent,
  surveyOf,
  testimony,
  writable,
} from '../support/builders.ts'

const warning = (message: string, code = '08006'): Notice => ({ code, message })
/** What Citus 13 says of a connection that failed, and libpq's reason. */
const failed = (why: string) =>
  warning(`connection to the remote node citus_ha@w1:5432 failed with the following error: ${why}`)
const closed = warning('connection to the remote node citus_ha@w1:5432 failed')
/** libpq 14 and later. */
const at = (why: string, host = '"w1" (10.0.0.1)') =>
  `connection to server at ${host}, port 5432 failed: ${why}`
const HINT = '\n\tIs the server running on that host and accepting TCP/IP connections?'
const OLD_HINT =
  '\n\tIs the server running on host "w1" (10.0.0.1) and accepting\n\tTCP/IP connections on port 5432?'
const CLOSED =
  'server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n\tbefore or while processing the request.'

// Every text was printed by a libpq of its version, or is in its source (fe-connect.c, fe-auth.c, fe-secure-openssl.c).
const TOLD: readonly (readonly [string, readonly Notice[], Sight])[] = [
  [
    'pg_hba.conf',
    [failed(at('FATAL:  pg_hba.conf rejects connection for host "10.0.0.2", user "citus_ha"'))],
    'answered',
  ],
  ['a wrong password', [failed('FATAL:  password authentication failed for user "citus_ha"')], 'answered'],
  [
    'both ways of encryption refused',
    [
      failed(
        `${at('FATAL:  no pg_hba.conf entry, SSL on')}\n${at('FATAL:  no pg_hba.conf entry, no encryption')}`,
      ),
    ],
    'answered',
  ],
  [
    'in German',
    [failed(at('FATAL:  die verbleibenden Verbindungen sind reserviert', '»w1« (10.0.0.1)'))],
    'answered',
  ],
  [
    'in Russian',
    [
      failed(
        'подключиться к серверу "w1" (10.0.0.1), порту 5432 не удалось: ВАЖНО:  пользователь не прошёл проверку',
      ),
    ],
    'answered',
  ],
  [
    'in Chinese',
    [failed('连接到"w1" (10.0.0.1)上的服务器，端口5432失败：致命错误:  用户 "citus_ha" Password 认证失败')],
    'answered',
  ],
  ['a server that lies', [failed(at('FATAL:  Connection refused'))], 'answered'],
  ['several lines of a server', [failed(at('FATAL:  no\nDETAIL:  Connection refused'))], 'answered'],
  [
    'one address refuses, another answers',
    [failed(`${at('Connection refused', '"w1" (::1)')}${HINT}\n${at('FATAL:  too many clients')}`)],
    'answered',
  ],
  ['no password', [failed(at('fe_sendauth: no password supplied'))], 'answered'],
  [
    'another protocol',
    [failed(at('expected authentication request from server, but received H'))],
    'answered',
  ],
  ['no TLS', [failed(at('server does not support SSL, but SSL was required'))], 'tls'],
  ['a TLS alert', [failed(at('SSL error: tlsv1 alert unknown ca'))], 'tls'],
  ['a certificate', [failed(at('SSL error: certificate verify failed'))], 'tls'],
  ['closed within TLS', [failed(at('SSL SYSCALL error: EOF detected'))], 'tls'],
  ['refused', [failed(`Connection refused${HINT}`)], 'refused'],
  ['refused, with the address', [failed(`${at('Connection refused')}${HINT}`)], 'refused'],
  ['refused, libpq 13', [failed(`could not connect to server: Connection refused${OLD_HINT}`)], 'refused'],
  [
    'refused by both addresses',
    [failed(`${at('Connection refused', '"w1" (::1)')}${HINT}\n${at('Connection refused')}${HINT}`)],
    'refused',
  ],
  [
    'refused, a host called password',
    [failed(`${at('Connection refused', '"password-SSL" (10.0.0.1)')}${HINT}`)],
    'refused',
  ],
  [
    'refused, then something else',
    [failed(`${at('Connection refused')}${HINT}\n${at('Cannot assign requested address')}`)],
    'not-understood',
  ],
  ['too late', [warning('could not establish connection after 950 ms', '01000'), closed], 'timeout'],
  [
    'too late, with a reason',
    [warning('could not establish connection after 950 ms', '01000'), failed('connection not open')],
    'timeout',
  ],
  ['the kernel gave up', [failed(at('Connection timed out'))], 'timeout'],
  ['unroutable', [failed(`${at('No route to host')}${HINT}`)], 'unroutable'],
  ['no network', [failed(`${at('Network is unreachable')}${HINT}`)], 'unroutable'],
  ['closed', [failed(at(CLOSED))], 'reset'],
  ['reset', [failed('could not receive data from server: Connection reset by peer')], 'reset'],
  [
    'no such name',
    [failed('could not translate host name "w1" to address: Name or service not known')],
    'dns',
  ],
  ['refused, in German', [failed(at('Verbindungsaufbau abgelehnt', '»w1« (10.0.0.1)'))], 'not-understood'],
  ['no descriptor left', [failed('could not create socket: Too many open files')], 'not-understood'],
  ['no reason', [closed], 'not-understood'],
  ['nothing at all', [], 'not-understood'],
  [
    'ended by an administrator after it was let in',
    [warning('terminating connection due to administrator command', '57P01')],
    'dying',
  ],
  ['cut after it was let in', [warning(CLOSED, 'XX000')], 'dying'],
  ['an error of its statement', [warning('permission denied', '42501')], 'answered'],
]

describe('what a witness saw, by the warnings of citus_check_connection_to_node', () => {
  test.each(TOLD)('%s', (_, notices, sight) => {
    expect(sightOf(false, notices)).toBe(sight)
  })

  it('is life where it is true, whatever it warns of', () => {
    expect(sightOf(true, [failed('Connection refused')])).toBe('reached')
  })
})

const coded = (code: string) => Object.assign(new Error('as coded'), { code })

// Ours: by code alone.
const OWN: readonly (readonly [string, Observation['kind'], string])[] = [
  ...['28P01', '28000', '53300', '57P03', '57P01', '3D000', '42501', '08P01', '0A000', 'XX000'].map(
    (code) => [code, 'unreadable', 'alive'] as const,
  ),
  ...['ERR_TLS_NOT_OFFERED', 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'CERT_HAS_EXPIRED'].map(
    (code) => [code, 'unreadable', 'alive'] as const,
  ),
  ...['ECONNREFUSED', 'ECONNRESET', '08006', 'ETIMEDOUT', 'PROBE_TIMEOUT', 'EHOSTUNREACH', 'ENETUNREACH'].map(
    (code) => [code, 'unreachable', 'down'] as const,
  ),
  ...['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL'].map((code) => [code, 'unreachable', 'unknown'] as const),
]

test.each(OWN)('what we see ourselves: %s is %s and proves %s', (code, kind, proof) => {
  const seen = observationOf(coded(code), address('w1a'))
  expect(seen.kind).toBe(kind)
  expect(seen.kind === 'unreachable' ? proves(seen.cause) : 'alive').toBe(proof)
})

test('a testimony says what was seen and what that proves', () => {
  const asked = { witness: address('cn1'), about: address('w1a'), how: 'wal-receiver' } as const
  for (const sight of Object.keys(SIGHTS) as Sight[])
    expect(testify(asked, sight)).toMatchObject({ saw: sight, says: SIGHTS[sight].proves })
})

test('docs/witnesses.md prints the table', async () => {
  const page = await readFile(new URL('../../docs/witnesses.md', import.meta.url), 'utf8')
  expect(page).toContain(`<!-- sights -->\n${tableOfSights()}\n<!-- /sights -->`)
})

describe('what it takes to believe that a primary is down', () => {
  const KNOWN = [lineage(0), lineage(1), lineage(2)]
  const promoted = writable('w1b', 1, { timeline: 2, history: [left(1, '0/50')] })
  const codeFor = (seen: Observation, ...saw: Sight[]) =>
    diagnose(
      surveyOf(
        [
          writable('cn1', 0, { installed: installed({ lineage: KNOWN }) }),
          seen,
          promoted,
          writable('w2a', 2),
        ],
        saw.map((sight, n) => testimony(n === 0 ? 'cn1' : 'w2a', 'w1a', proves(sight), sight)),
      ),
      NO_CLAIMS,
    ).find(({ group }) => group === 1)?.code

  test.each<[string, string, Observation, Sight[]]>([
    ['promoted', 'we and one more see silence', silent('w1a', 'timeout'), ['refused']],
    [
      'promoted',
      'two others see silence, and we cannot resolve its name',
      silent('w1a', 'dns'),
      ['refused', 'timeout'],
    ],
    [
      'primary-unknown',
      'we cannot resolve its name: one other is not enough',
      silent('w1a', 'dns'),
      ['refused'],
    ],
    ['primary-unknown', 'neither we nor others can look its name up', silent('w1a', 'dns'), ['dns', 'dns']],
    ['primary-unknown', 'others cannot resolve its name', silent('w1a'), ['dns', 'dns']],
    [
      'primary-unknown',
      'others don’t say what can be understood',
      silent('w1a'),
      ['not-understood', 'cut-off'],
    ],
    ['primary-unknown', 'it was dying', silent('w1a'), ['dying', 'no-report']],
    ['primary-unknown', 'it answers us with an error', mute('w1a', 'starting'), ['refused', 'refused']],
    ['primary-alive-elsewhere', 'it answers one', silent('w1a'), ['answered', 'refused']],
    ['primary-alive-elsewhere', 'it lets one in', silent('w1a'), ['refused', 'reached']],
    ['primary-alive-elsewhere', 'TLS fails for one', silent('w1a'), ['tls', 'refused']],
  ])('%s: %s', (code, _, seen, saw) => {
    expect(codeFor(seen, ...saw)).toBe(code)
  })
})
