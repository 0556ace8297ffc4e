import { BlockList, isIP } from 'node:net'
import { z } from 'zod'
import { formatAddress, type HostPort } from '../model/node.ts'
import { example, expected, listener, text } from './scalars.ts'
import { Secret } from './secret.ts'
import type { SecretSource } from './secret-file.ts'

/** Where a watcher takes orders, who may give them, and where other commands find it. */
export interface Control {
  /** null: `connect` names a watcher elsewhere, and one that runs here takes no orders. */
  readonly listen: HostPort | null
  /** What whoever asks has to show; null: a client certificate is enough. */
  readonly token: SecretSource | null
  /** null: plain HTTP, on this machine only. */
  readonly tls: ControlTls | null
  readonly connect: ControlConnect
}

/** PEM files. With `clientCa` nobody gets in without a certificate that it has signed. */
export interface ControlTls {
  readonly cert: string
  readonly key: string
  readonly clientCa: string | null
}

/** How other commands reach the watcher; PEM files. */
export interface ControlConnect {
  readonly url: string
  /** null: the authorities that Node.js knows. */
  readonly ca: string | null
  /** Shown where the watcher asks for one; null: none. */
  readonly cert: string | null
  readonly key: string | null
}

/** Where orders are taken once that is asked for: on this machine only. */
const DEFAULT_LISTEN: HostPort = { host: '127.0.0.1', port: 8009 }

/** Wrong guesses are limited by nothing but the speed of the answers. */
const SHORTEST_TOKEN = 16
/** What a header can carry. */
const TOKEN = /^[\x21-\x7e]+$/

/** @returns what is wrong with a token, or null */
export function tokenProblem(token: string): string | null {
  if (token.length < SHORTEST_TOKEN) return `expected ${SHORTEST_TOKEN} characters or more`
  return TOKEN.test(token) ? null : 'expected no blanks and nothing but ASCII'
}

const tokenText = z.string().transform((given, context) => {
  const message = tokenProblem(given)
  if (message !== null) context.addIssue({ code: 'custom', message })
  return new Secret(given)
})

const url = expected('a URL such as https://watcher.example:8009', readUrl, 'https://watcher.example:8009')
const connectRule = z.strictObject({
  url: url.describe('The URL of the watcher. Default: the address in listen.').optional(),
  ca: example(text, '/etc/citus-ha/root.crt')
    .describe('A PEM file with the certificate authority of the watcher.')
    .optional(),
  cert: example(text, '/etc/citus-ha/client.crt')
    .describe('A PEM file with the client certificate.')
    .optional(),
  key: example(text, '/etc/citus-ha/client.key').describe('A PEM file with the key of cert.').optional(),
})

const section = z.strictObject({
  listen: example(listener, formatAddress(DEFAULT_LISTEN))
    .describe(
      'The address where watch takes requests: HOST:PORT. Default: 127.0.0.1:8009, unless connect.url names another watcher.',
    )
    .optional(),
  connect: z
    .preprocess((given) => (typeof given === 'string' ? { url: given } : given), connectRule)
    .describe('How other commands reach the watcher: a URL, or a mapping.')
    .prefault({}),
  token: tokenText.describe('The token that every request must carry; better in a file.').optional(),
  tokenFile: example(text, '/etc/citus-ha/token').describe('The file that holds the token.').optional(),
  tls: z
    .strictObject({
      cert: example(text, '/etc/citus-ha/watcher.crt').describe('A PEM file with the certificate.'),
      key: example(text, '/etc/citus-ha/watcher.key').describe('A PEM file with its key.'),
      clientCa: example(text, '/etc/citus-ha/clients.crt')
        .describe(
          'A PEM file with a certificate authority: only clients with a certificate that it signed are accepted.',
        )
        .optional(),
    })
    .describe('HTTPS. Default: HTTP, on this machine only.')
    .optional(),
})

type Given = z.output<typeof section>

/** `control:` of the file. Nobody gives orders without showing who he is, and nobody shows it to whoever listens. */
export const controlSection = section.transform((given, context): Control => {
  const control = filledIn(given)
  for (const [path, message] of problemsOf(given, control)) {
    context.addIssue({ code: 'custom', path: path === '' ? [] : path.split('.'), message })
  }
  return control
})

function filledIn({ listen, connect, token, tokenFile, tls }: Given): Control {
  const listens = listen ?? (connect.url === undefined ? DEFAULT_LISTEN : null)
  const scheme = tls ? 'https' : 'http'
  return {
    listen: listens,
    token: token ? { kind: 'text', secret: token } : tokenFile ? { kind: 'file', file: tokenFile } : null,
    tls: tls ? { ...tls, clientCa: tls.clientCa ?? null } : null,
    connect: {
      url: connect.url ?? `${scheme}://${formatAddress(listens ?? DEFAULT_LISTEN)}`,
      ca: connect.ca ?? tls?.clientCa ?? null,
      cert: connect.cert ?? (tls?.clientCa ? tls.cert : null),
      key: connect.key ?? (tls?.clientCa ? tls.key : null),
    },
  }
}

function problemsOf(
  given: Given,
  { listen, token, tls, connect }: Control,
): [path: string, message: string][] {
  const at = new URL(connect.url)
  const problems: [string, string, boolean][] = [
    [
      'tokenFile',
      'expected token or tokenFile, not both',
      given.token !== undefined && given.tokenFile !== undefined,
    ],
    [
      '',
      'expected token, tokenFile or tls.clientCa: control does not accept requests without authentication',
      listen !== null && token === null && tls?.clientCa == null,
    ],
    [
      'listen',
      `expected tls, or an address of this machine only, got ${formatAddress(listen ?? DEFAULT_LISTEN)}: the token would be sent unencrypted`,
      listen !== null && tls === null && !isLoopback(listen.host),
    ],
    [
      'connect.url',
      'expected https:, or an address of this machine only: the token would be sent unencrypted',
      given.connect.url !== undefined &&
        at.protocol === 'http:' &&
        !isLoopback(at.hostname.replace(/^\[|\]$/g, '')),
    ],
    [
      'connect.key',
      'expected both cert and key, got only one of them',
      (connect.cert === null) !== (connect.key === null),
    ],
  ]
  return problems.flatMap(([path, message, is]) => (is ? [[path, message] as [string, string]] : []))
}

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8)
LOOPBACK.addAddress('::1', 'ipv6')

function isLoopback(host: string): boolean {
  const version = isIP(host)
  return version === 0 ? host === 'localhost' : LOOPBACK.check(host, version === 4 ? 'ipv4' : 'ipv6')
}

/** Of nothing but scheme, host and port. */
function readUrl(given: string): string | null {
  if (!URL.canParse(given)) return null
  const { protocol, origin, href } = new URL(given)
  const bare = href === `${origin}/`
  return bare && (protocol === 'http:' || protocol === 'https:') ? origin : null
}
