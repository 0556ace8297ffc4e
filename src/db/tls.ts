import { isIP, type Socket } from 'node:net'
import { checkServerIdentity, connect, type PeerCertificate, type TLSSocket } from 'node:tls'
import type { SslPlan } from './ssl.ts'

// SSLRequest: its length, 8, and 1234,5679 in place of a protocol version.
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])

/** TLS was wanted and did not come about; `code` begins with ERR_TLS, or is Node's own. */
export class TlsError extends Error {
  override readonly name = 'TlsError'
  readonly code: string
  constructor(message: string, code: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Asks a fresh connection for TLS. @throws TlsError on an answer that is neither yes nor no. */
export async function offersTls(socket: Socket): Promise<boolean> {
  socket.write(SSL_REQUEST)
  const answer: Buffer = await once(socket, 'data')
  // Bytes after the "S" came unencrypted, from whoever sits between (CVE-2021-23222).
  if (answer.length !== 1)
    throw new TlsError('unencrypted bytes after the answer to SSLRequest', 'ERR_TLS_ANSWER')
  if (answer[0] === 0x53) return true
  if (answer[0] === 0x4e) return false
  throw new TlsError('the server does not understand SSLRequest', 'ERR_TLS_ANSWER')
}

/** The TLS handshake, verified as the plan says. @throws TlsError with Node's code, such as CERT_HAS_EXPIRED. */
export async function encrypt(socket: Socket, host: string, ssl: SslPlan): Promise<TLSSocket> {
  const secure = connect({
    socket,
    rejectUnauthorized: ssl.verify !== 'nothing',
    checkServerIdentity: (_, certificate) =>
      ssl.verify === 'chain-and-host' ? checkHost(host, certificate) : undefined,
    ...(isIP(host) === 0 && { servername: host }), // SNI knows no addresses
    ...(ssl.roots.length > 0 && { ca: [...ssl.roots] }),
    ...(ssl.cert !== undefined && { cert: ssl.cert }),
    ...(ssl.key !== undefined && { key: ssl.key.reveal() }),
    ...(ssl.passphrase !== undefined && { passphrase: ssl.passphrase.reveal() }),
    ...(ssl.crl !== undefined && { crl: ssl.crl }),
    ...(ssl.minVersion !== undefined && { minVersion: ssl.minVersion }),
    ...(ssl.maxVersion !== undefined && { maxVersion: ssl.maxVersion }),
  })
  try {
    await once(secure, 'secureConnect')
    return secure
  } catch (cause) {
    secure.on('error', () => {})
    secure.destroy()
    const { message, code } = cause as NodeJS.ErrnoException
    throw new TlsError(message, code ?? 'ERR_TLS_HANDSHAKE', { cause })
  }
}

/** Node's rules; and as in libpq an IP address may be the common name of a certificate without other names. */
function checkHost(host: string, certificate: PeerCertificate): Error | undefined {
  const error = checkServerIdentity(host, certificate)
  const bare = isIP(host) !== 0 && !certificate.subjectaltname && certificate.subject?.CN === host
  return bare ? undefined : error
}

/** The next `event`. @throws the socket's error, or ECONNRESET where it closes before. */
export function once<T>(socket: Socket, event: 'connect' | 'secureConnect' | 'data'): Promise<T> {
  return new Promise((resolve, reject) => {
    const closed = () =>
      fail(Object.assign(new Error('the server closed the connection'), { code: 'ECONNRESET' }))
    const clear = () => {
      socket.off(event, done).off('error', fail).off('end', closed).off('close', closed)
    }
    const done = (value: T) => {
      clear()
      resolve(value)
    }
    const fail = (error: Error) => {
      clear()
      socket.on('error', () => {}) // what else comes of a connection that is given up
      reject(error)
    }
    socket.on(event, done).on('error', fail).on('end', closed).on('close', closed)
  })
}
