import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

/** PEM files of one certificate. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

/** An authority of a test's own, in a directory that the test removes. */
export class Authority {
  readonly cert: string
  readonly #directory: string
  readonly #name: string

  private constructor(directory: string, name: string) {
    this.#directory = directory
    this.#name = name
    this.cert = join(directory, `${name}.crt`)
  }

  static async make(directory: string, name: string): Promise<Authority> {
    const authority = new Authority(directory, name)
    const out = ['-keyout', join(directory, `${name}.key`), '-out', authority.cert]
    await run('openssl', ['req', '-x509', ...EC, ...out, '-days', '2', '-subj', `/CN=citus-ha ${name}`])
    return authority
  }

  async sign(name: string, names = 'DNS:localhost,IP:127.0.0.1'): Promise<Certificate> {
    const file = (kind: string) => join(this.#directory, `${this.#name}-${name}.${kind}`)
    await run('openssl', ['req', ...EC, '-keyout', file('key'), '-out', file('csr'), '-subj', `/CN=${name}`])
    await writeFile(file('ext'), `subjectAltName=${names}\n`)
    const signer = ['-CA', this.cert, '-CAkey', join(this.#directory, `${this.#name}.key`), '-CAcreateserial']
    const out = ['-days', '2', '-extfile', file('ext'), '-out', file('crt')]
    await run('openssl', ['x509', '-req', '-in', file('csr'), ...signer, ...out])
    return { cert: file('crt'), key: file('key') }
  }
}
