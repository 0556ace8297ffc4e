import type { Stats } from 'node:fs'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { ConfigError } from '../config/config-error.ts'
import {
  type ConnectionSettings,
  isSslMode,
  SSL_MODES,
  type SslMode,
  TLS_VERSIONS,
  type TlsVersion,
} from '../config/connection.ts'
import { isMissing, readGiven, whyUnreadable } from '../config/read-file.ts'
import { Secret } from '../config/secret.ts'
import type { Environment } from '../config/url.ts'

/** What is asked of the server's certificate. */
type Verification = 'nothing' | 'chain' | 'chain-and-host'

/** How a connection is encrypted, with every file read. */
export interface SslPlan {
  readonly mode: SslMode
  readonly verify: Verification
  /** Trusted roots as PEM; empty where nothing is verified. */
  readonly roots: readonly string[]
  /** The client's certificate and key as PEM. */
  readonly cert: string | undefined
  readonly key: Secret | undefined
  /** Of an encrypted key. */
  readonly passphrase: Secret | undefined
  /** Revoked certificates as PEM. */
  readonly crl: string | undefined
  readonly minVersion: TlsVersion | undefined
  readonly maxVersion: TlsVersion | undefined
  /** What libpq goes on without, saying nothing. */
  readonly warnings: readonly string[]
}

export const NO_SSL = {
  mode: 'disable',
  verify: 'nothing',
  roots: [],
  cert: undefined,
  key: undefined,
  passphrase: undefined,
  crl: undefined,
  minVersion: undefined,
  maxVersion: undefined,
  warnings: [],
} as const

// Where OpenSSL builds of Debian, Red Hat, SUSE, Alpine and macOS keep the system's roots.
const SYSTEM_ROOTS = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
]

/**
 * libpq's rules (`initialize_SSL` in fe-secure-openssl.c): a root certificate file that exists has the chain
 * verified under *every* mode that encrypts; verify-ca and verify-full insist on one; only verify-full looks at
 * the host name. `sslrootcert=system` means verify-full.
 * @throws ConfigError on an unknown mode, a file that is missing or unreadable, or a key others may read.
 */
export async function planSsl(
  settings: ConnectionSettings,
  env: Environment,
  home: string,
): Promise<SslPlan> {
  const rootFile = settings.sslrootcert ?? (env.PGSSLROOTCERT || join(home, '.postgresql', 'root.crt'))
  const mode = modeOf(settings, env, rootFile)
  if (mode === 'disable') return NO_SSL
  const roots = await readRoots(rootFile, mode, env)
  const verify = mode === 'verify-full' ? 'chain-and-host' : roots.length > 0 ? 'chain' : 'nothing'
  const warnings =
    verify === 'nothing' && (settings.sslrootcert || env.PGSSLROOTCERT)
      ? [`root certificate file ${rootFile} does not exist: under sslmode ${mode} no certificate is verified`]
      : []
  return {
    ...{ mode, verify, roots, warnings },
    ...(await clientCertificate(settings, env, home)),
    passphrase: settings.sslpassword,
    crl: roots.length > 0 ? await readRevoked(settings, env, home) : undefined,
    minVersion: settings.sslMinProtocol ?? versionOf(env, 'PGSSLMINPROTOCOLVERSION'),
    maxVersion: settings.sslMaxProtocol ?? versionOf(env, 'PGSSLMAXPROTOCOLVERSION'),
  }
}

/** As libpq does, where a chain is verified; one that was named and is not there is an error here. */
async function readRevoked(
  settings: ConnectionSettings,
  env: Environment,
  home: string,
): Promise<string | undefined> {
  const named = settings.sslcrl ?? (env.PGSSLCRL || undefined)
  const file = named ?? join(home, '.postgresql', 'root.crl')
  const text = (await readIfThere(file, 'revocation list'))?.text ?? null
  if (text === null && named !== undefined) throw new ConfigError(`revocation list ${file} does not exist`)
  return text ?? undefined
}

function versionOf(env: Environment, name: string): TlsVersion | undefined {
  const word = env[name]
  if (!word) return undefined
  const known = TLS_VERSIONS.find((version) => version.toLowerCase() === word.toLowerCase())
  if (known === undefined) throw new ConfigError(`${name}: expected one of ${TLS_VERSIONS.join(', ')}`)
  return known
}

function modeOf(settings: ConnectionSettings, env: Environment, rootFile: string): SslMode {
  const word = settings.sslmode ?? (env.PGSSLMODE || (rootFile === 'system' ? 'verify-full' : 'prefer'))
  if (!isSslMode(word)) throw new ConfigError(`PGSSLMODE: expected one of ${SSL_MODES.join(', ')}`)
  if (rootFile === 'system' && word !== 'verify-full' && word !== 'disable') {
    throw new ConfigError(`sslmode ${word} is too weak for sslrootcert=system: use verify-full`)
  }
  return word
}

async function readRoots(file: string, mode: SslMode, env: Environment): Promise<readonly string[]> {
  if (file === 'system') return systemRoots(env)
  const roots = await readIfThere(file, 'root certificate')
  if (roots !== null) return [roots.text]
  if (!mode.startsWith('verify')) return []
  throw new ConfigError(
    `root certificate file ${file} does not exist: provide it, or sslrootcert=system, or another sslmode than ${mode}`,
  )
}

async function systemRoots(env: Environment): Promise<readonly string[]> {
  const named = env.SSL_CERT_FILE
  for (const file of named ? [named] : SYSTEM_ROOTS) {
    const read = await readGiven(file).catch(() => null)
    if (read !== null) return [read.bytes.toString()]
  }
  return rootCertificates
}

async function clientCertificate(settings: ConnectionSettings, env: Environment, home: string) {
  const certFile = settings.sslcert ?? (env.PGSSLCERT || join(home, '.postgresql', 'postgresql.crt'))
  const cert = await readIfThere(certFile, 'certificate')
  if (cert === null) return { cert: undefined, key: undefined }
  const keyFile = settings.sslkey ?? (env.PGSSLKEY || join(home, '.postgresql', 'postgresql.key'))
  const key = await readIfThere(keyFile, 'private key')
  if (key === null)
    throw new ConfigError(`certificate ${certFile} is there, but no private key file ${keyFile}`)
  refuseOpenKey(keyFile, key.stats)
  return { cert: cert.text, key: new Secret(key.text) }
}

/** 0600, or 0640 where root owns it, as libpq asks. */
function refuseOpenKey(file: string, { mode, uid }: Stats): void {
  if (process.platform === 'win32') return
  if ((mode & (uid === 0 ? 0o037 : 0o077)) === 0) return
  throw new ConfigError(
    `private key file ${file} has group or world access: it must be 0600, or 0640 if owned by root`,
  )
}

async function readIfThere(file: string, what: string): Promise<{ text: string; stats: Stats } | null> {
  try {
    const { bytes, stats } = await readGiven(file)
    return { text: bytes.toString(), stats }
  } catch (error) {
    if (isMissing(error)) return null
    throw new ConfigError(`${what} file ${file}: ${whyUnreadable(error)}`, { cause: error })
  }
}
