import { generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'

/** PEM files of one certificate. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

/** An authority of a test's own, in a directory that the test removes. Certificates are good for two days. */
export class Authority {
  readonly cert: string
  readonly #directory: string
  readonly #name: string
  readonly #key: KeyObject

  private constructor(directory: string, name: string, key: KeyObject) {
    this.#directory = directory
    this.#name = name
    this.#key = key
    this.cert = join(directory, `${name}.crt`)
  }

  static async make(directory: string, name: string): Promise<Authority> {
    const { publicKey, privateKey } = newKeys()
    const authority = new Authority(directory, name, privateKey)
    const extensions = [extension(OID.basicConstraints, der(SEQUENCE, TRUE))]
    const own = certificate({
      issuer: authority.#subject,
      subject: authority.#subject,
      publicKey,
      extensions,
      by: privateKey,
    })
    await writeFile(authority.cert, own)
    return authority
  }

  /** @param names such as `DNS:localhost` or `IP:127.0.0.1` (no IPv6) */
  async sign(
    name: string,
    names: readonly string[] = ['DNS:localhost', 'IP:127.0.0.1'],
  ): Promise<Certificate> {
    const { publicKey, privateKey } = newKeys()
    const [cert, key] = ['crt', 'key'].map((kind) =>
      join(this.#directory, `${this.#name}-${name}.${kind}`),
    ) as [string, string]
    const extensions = [extension(OID.subjectAltName, der(SEQUENCE, ...names.map(alternativeName)))]
    const signed = certificate({
      issuer: this.#subject,
      subject: name,
      publicKey,
      extensions,
      by: this.#key,
    })
    await writeFile(cert, signed)
    await writeFile(key, privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 })
    return { cert, key }
  }

  /** Writes a list of certificates that are revoked; with none of them, an empty one. @returns the file */
  async revoke(name: string, revoked: readonly Certificate[]): Promise<string> {
    const serials = await Promise.all(
      revoked.map(async ({ cert }) => new X509Certificate(await readFile(cert)).serialNumber),
    )
    const now = Date.now()
    const entries = serials.map((serial) => der(SEQUENCE, hex(INTEGER, serial), time(now - DAY_MS)))
    const algorithm = der(SEQUENCE, OID.ecdsaWithSha256)
    const signed = der(
      SEQUENCE,
      hex(INTEGER, '01'),
      algorithm,
      named(this.#subject),
      time(now - DAY_MS),
      time(now + 2 * DAY_MS),
      ...(entries.length > 0 ? [der(SEQUENCE, ...entries)] : []),
    )
    const file = join(this.#directory, `${this.#name}-${name}.crl`)
    await writeFile(file, pem('X509 CRL', signedBy(this.#key, signed, algorithm)))
    return file
  }

  get #subject(): string {
    return `citus-ha ${this.#name}`
  }
}

const newKeys = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' })

// X.509 (RFC 5280) in DER (X.690), as far as the tests need it: Node reads certificates and makes none.

const INTEGER = 0x02
const BIT_STRING = 0x03
const OCTET_STRING = 0x04
const OBJECT_IDENTIFIER = 0x06
const UTF8_STRING = 0x0c
const UTC_TIME = 0x17
const SEQUENCE = 0x30
const SET = 0x31
const VERSION = 0xa0
const EXTENSIONS = 0xa3
const DNS_NAME = 0x82
const IP_ADDRESS = 0x87

function der(tag: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content)
  const [high, low] = [body.length >> 8, body.length & 255]
  const length = high > 0 ? [0x82, high, low] : low > 127 ? [0x81, low] : [low]
  return Buffer.concat([Buffer.from([tag, ...length]), body])
}

const hex = (tag: number, bytes: string) => der(tag, Buffer.from(bytes, 'hex'))
const text = (tag: number, value: string) => der(tag, Buffer.from(value))

const OID = {
  commonName: hex(OBJECT_IDENTIFIER, '550403'),
  ecdsaWithSha256: hex(OBJECT_IDENTIFIER, '2a8648ce3d040302'),
  basicConstraints: hex(OBJECT_IDENTIFIER, '551d13'),
  subjectAltName: hex(OBJECT_IDENTIFIER, '551d11'),
}
const TRUE = hex(0x01, 'ff')
const DAY_MS = 24 * 3600 * 1000

const extension = (oid: Buffer, value: Buffer) => der(SEQUENCE, oid, der(OCTET_STRING, value))
const named = (name: string) =>
  der(SEQUENCE, der(SET, der(SEQUENCE, OID.commonName, text(UTF8_STRING, name))))
const time = (ms: number) => text(UTC_TIME, `${new Date(ms).toISOString().replace(/^..|[-:T]|\..*$/g, '')}Z`)

function alternativeName(given: string): Buffer {
  const name = given.slice(given.indexOf(':') + 1)
  return isIP(name) === 4 ? der(IP_ADDRESS, Buffer.from(name.split('.').map(Number))) : text(DNS_NAME, name)
}

interface Contents {
  readonly issuer: string
  readonly subject: string
  readonly publicKey: KeyObject
  readonly extensions: readonly Buffer[]
  readonly by: KeyObject
}

/** PEM. */
function certificate({ issuer, subject, publicKey, extensions, by }: Contents): string {
  const algorithm = der(SEQUENCE, OID.ecdsaWithSha256)
  // Positive, and not a byte too long: the highest bit is 0, and the next one is not.
  const serial = randomBytes(16)
  serial.writeUInt8((serial.readUInt8(0) & 0x3f) | 0x40, 0)
  const now = Date.now()
  const signed = der(
    SEQUENCE,
    der(VERSION, hex(INTEGER, '02')),
    der(INTEGER, serial),
    algorithm,
    named(issuer),
    der(SEQUENCE, time(now - DAY_MS), time(now + 2 * DAY_MS)),
    named(subject),
    publicKey.export({ format: 'der', type: 'spki' }),
    der(EXTENSIONS, der(SEQUENCE, ...extensions)),
  )
  return pem('CERTIFICATE', signedBy(by, signed, algorithm))
}

function signedBy(key: KeyObject, content: Buffer, algorithm: Buffer): Buffer {
  return der(SEQUENCE, content, algorithm, der(BIT_STRING, Buffer.from([0]), sign('sha256', content, key)))
}

function pem(what: string, content: Buffer): string {
  const base64 = content.toString('base64').match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${what}-----`, ...base64, `-----END ${what}-----`, ''].join('\n')
}
