/** What a sight proves of a server. */
export type Proof = 'alive' | 'down' | 'unknown'

interface Row {
  readonly proves: Proof
  /** What was seen, for people; the server in question is "it". */
  readonly says: string
  /** How it is known when we connect ourselves; null: it can't be seen this way. */
  readonly byUs: string | null
  /** How it is known when a witness is asked, or from a standby's WAL receiver. */
  readonly byWitness: string | null
}

/**
 * Everything that one server can see of another one when it connects to it, and what a standby's WAL receiver can show,
 * with what each proves. docs/witnesses.md prints this table. Only silence is evidence that a server is down; whatever
 * somebody *said* is life, and what can't be understood is "unknown".
 */
export const SIGHTS = {
  reached: {
    proves: 'alive',
    says: 'connects to it and runs a statement',
    byUs: 'the survey was answered',
    byWitness: '`citus_check_connection_to_node` is true',
  },
  answered: {
    proves: 'alive',
    says: 'gets an answer from it: an error or a request for a password',
    byUs:
      'any SQLSTATE: 28P01 and 28000 (password, pg_hba.conf), 53300 (no free slot), 57P03 (starting, stopping), ' +
      '3D000 (no such database), 42501, 08P01 and all others but 08006',
    byWitness:
      'a message with a severity (libpq prints `FATAL:  …`, with two spaces, whatever the language); a text about ' +
      'passwords, authentication or the protocol; an error of the statement itself, 57P01 to 57P03 excepted',
  },
  tls: {
    proves: 'alive',
    says: 'gets an answer from it, but TLS fails',
    byUs: 'a TLS alert, a certificate that does not verify, a server that does not offer TLS',
    byWitness: 'a text that begins with `SSL` or is about a certificate',
  },
  refused: {
    proves: 'down',
    says: 'is refused by its machine: nothing listens on the port',
    byUs: 'ECONNREFUSED',
    byWitness: '`Connection refused`; no password is needed for that',
  },
  timeout: {
    proves: 'down',
    says: 'gets no answer from it in time',
    byUs: 'ETIMEDOUT, or nothing within `detect.timeout`',
    byWitness:
      '`could not establish connection after … ms` by Citus, `Connection timed out`, `Operation timed out`, `timeout expired`',
  },
  unroutable: {
    proves: 'down',
    says: 'has no route to its machine',
    byUs: 'EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL',
    byWitness: '`No route to host`, `Host is down`, `Host is unreachable`, `Network is unreachable`',
  },
  reset: {
    proves: 'down',
    says: 'loses the connection before any answer',
    byUs: 'ECONNRESET, EPIPE, 08006, a connection that closes before the first answer',
    byWitness: '`server closed the connection unexpectedly`, `Connection reset by peer`, `Broken pipe`',
  },
  dns: {
    proves: 'unknown',
    says: 'cannot resolve its name',
    byUs: 'ENOTFOUND, EAI_AGAIN, EAI_FAIL, a look-up that takes longer than `detect.timeout`',
    byWitness: '`could not translate host name`',
  },
  dying: {
    proves: 'unknown',
    says: 'was connected to it, but the connection ended before an answer',
    byUs: null,
    byWitness: 'the statement failed with 57P01, 57P02 or 57P03, or without an answer',
  },
  'not-understood': {
    proves: 'unknown',
    says: 'does not reach it, for a reason that citus-ha does not know',
    byUs: null,
    byWitness: 'any other text, and any text in another language where `lc_messages` could not be set to C',
  },
  'cut-off': {
    proves: 'unknown',
    says: 'reaches neither it nor a node that is running',
    byUs: null,
    byWitness: 'it does not answer the witness, and neither does a server that answers citus-ha',
  },
  'no-report': {
    proves: 'unknown',
    says: 'could not be asked',
    byUs: null,
    byWitness: 'the witness itself failed, or did not answer within `detect.timeout`',
  },
  'receiver-hears': {
    proves: 'alive',
    says: 'has received a message from its sender lately',
    byUs: null,
    byWitness:
      'WAL receiver: a message within `detect.witnessFreshness`, from a sender that is no other node that answered',
  },
  'receiver-deaf': {
    proves: 'unknown',
    says: 'has a WAL receiver that has received no message lately',
    byUs: null,
    byWitness:
      'WAL receiver: the last message is older; it says `streaming` for as long as its TCP connection lasts',
  },
  'receiver-elsewhere': {
    proves: 'unknown',
    says: 'streams from another node',
    byUs: null,
    byWitness:
      'WAL receiver: its sender is a node that answered citus-ha (a cascade, or it follows the promoted one)',
  },
  'receiver-ended': {
    proves: 'down',
    says: 'streamed from it until it fell silent, and has had no WAL receiver since',
    byUs: null,
    byWitness:
      'no WAL receiver for longer than `detect.witnessFreshness`, of a standby that had one from this very address ' +
      'until the primary fell silent, and has neither restarted nor read its configuration since (only ' +
      '`watch` observes that long)',
  },
  'receiver-absent': {
    proves: 'unknown',
    says: 'has no WAL receiver, and was not seen to stream from it',
    byUs: null,
    byWitness:
      'no WAL receiver, and no history: archive replay, a missing slot, a cascade that stopped, and every command that surveys once',
  },
} as const satisfies Readonly<Record<string, Row>>

export type Sight = keyof typeof SIGHTS

export const proves = (sight: Sight): Proof => SIGHTS[sight].proves

/** Between the two markers of docs/witnesses.md. */
export function tableOfSights(): string {
  const rows: [string, Row][] = Object.entries(SIGHTS)
  return [
    '| sight | the observer | as seen by citus-ha | as seen by a witness | proves |',
    '|---|---|---|---|---|',
    ...rows.map(
      ([id, { says, byUs, byWitness, proves }]) =>
        `| \`${id}\` | ${says} | ${byUs ?? '–'} | ${byWitness ?? '–'} | **${proves}** |`,
    ),
  ].join('\n')
}
