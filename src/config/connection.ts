import type { HostPort } from '../model/node.ts'
import type { Secret } from './secret.ts'

/** libpq's words, weakest first. */
export const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
export type SslMode = (typeof SSL_MODES)[number]

export function isSslMode(text: string): text is SslMode {
  return (SSL_MODES as readonly string[]).includes(text)
}

/** As libpq and Node both write them. */
export const TLS_VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const
export type TlsVersion = (typeof TLS_VERSIONS)[number]

/** What a URL or the file's `connection` says; what is absent comes from `PG*` variables or libpq's defaults. */
export interface ConnectionSettings {
  readonly user?: string
  readonly password?: Secret
  /** Typed by a person, for where nothing else gives one. */
  readonly typedPassword?: Secret
  readonly passfile?: string
  readonly sslmode?: SslMode
  /** A file of trusted roots, or `system`. */
  readonly sslrootcert?: string
  readonly sslcert?: string
  readonly sslkey?: string
  /** Of an encrypted `sslkey`. */
  readonly sslpassword?: Secret
  /** A PEM file of certificates that were revoked. */
  readonly sslcrl?: string
  readonly sslMinProtocol?: TlsVersion
  readonly sslMaxProtocol?: TlsVersion
  /** Milliseconds; absent or 0 is our default, not libpq's endless wait. */
  readonly connectTimeoutMs?: number
  /** Command-line options for the session, such as `-c work_mem=64MB`. */
  readonly options?: string
  /** What was said of parameters that are ignored. */
  readonly ignored?: readonly string[]
}

/** A server that may be the coordinator. */
export interface Candidate {
  readonly address: HostPort
  /** The database the URL names, or null. */
  readonly database: string | null
  /** What the URL says, filled up by the file's `connection`. */
  readonly settings: ConnectionSettings
}
