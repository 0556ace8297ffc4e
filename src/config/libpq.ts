/**
 * What becomes of each parameter that libpq takes in a URL ("Parameter Key Words" in PostgreSQL's manual, up to version 18):
 * `taken`; `moot`: a connection of ours is the same without; `refused`: without it, it is another connection; or what is to be
 * said where it is ignored.
 */
const WORDS: Readonly<Record<string, 'taken' | 'moot' | 'refused' | Unheeded>> = {
  ...words(
    'taken',
    'host hostaddr port dbname user password passfile options connect_timeout',
    'sslmode sslrootcert sslcert sslkey sslpassword sslcrl ssl_min_protocol_version ssl_max_protocol_version',
  ),
  // Each server is asked by itself, under a name of our own, in UTF-8; and each wait has a limit of ours.
  ...words(
    'moot',
    'application_name fallback_application_name client_encoding target_session_attrs load_balance_hosts',
    'keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout',
    'sslnegotiation sslcompression sslsni requirepeer krbsrvname gsslib gssdelegation',
    'min_protocol_version max_protocol_version',
  ),
  ...words('refused', 'service servicefile'),
  channel_binding: {
    harmless: ['disable', 'prefer'],
    without: 'citus-ha sends passwords without channel binding',
  },
  gssencmode: {
    harmless: ['disable', 'prefer'],
    without: 'citus-ha does not support GSSAPI encryption; see sslmode',
  },
  require_auth: { harmless: [], without: 'any authentication method that the server asks for is used' },
  sslcertmode: { harmless: ['allow'], without: 'a client certificate is sent if the server asks for one' },
  sslcrldir: { harmless: [], without: 'citus-ha reads sslcrl (one file) only' },
  sslkeylogfile: { harmless: [], without: 'citus-ha writes no TLS keys' },
  scram_client_key: { harmless: [], without: 'citus-ha supports passwords only' },
  scram_server_key: { harmless: [], without: 'citus-ha supports passwords only' },
  replication: {
    harmless: ['false', 'off', 'no', '0'],
    without: 'citus-ha opens no replication connections',
  },
  oauth_issuer: { harmless: [], without: 'citus-ha does not support OAuth' },
  oauth_client_id: { harmless: [], without: 'citus-ha does not support OAuth' },
  oauth_client_secret: { harmless: [], without: 'citus-ha does not support OAuth' },
  oauth_scope: { harmless: [], without: 'citus-ha does not support OAuth' },
}

/** A parameter that is ignored, and that somebody may count on. */
interface Unheeded {
  /** Values that ask for nothing. */
  readonly harmless: readonly string[]
  /** What is so without it. */
  readonly without: string
}

function words<Fate extends string>(fate: Fate, ...lists: readonly string[]): Record<string, Fate> {
  return Object.fromEntries(lists.flatMap((list) => list.split(' ')).map((name) => [name, fate]))
}

/** What is done with a parameter: `ignored` says why that is no matter, or what is to be said. */
export type Heard = 'taken' | 'unknown' | 'refused' | { readonly ignored: string | null }

/** @param value as it was decoded */
export function hear(name: string, value: string): Heard {
  const fate = Object.hasOwn(WORDS, name) ? WORDS[name] : undefined
  if (fate === undefined) return 'unknown'
  if (fate === 'moot') return { ignored: null }
  if (typeof fate === 'string') return fate
  if (fate.harmless.includes(value)) return { ignored: null }
  return { ignored: `${name} is ignored: ${fate.without}` }
}
