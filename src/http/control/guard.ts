import { createHash, timingSafeEqual } from 'node:crypto'
import { TLSSocket } from 'node:tls'
import type { FastifyRequest } from 'fastify'
import { tokenProblem } from '../../config/control.ts'
import { readSecret, type SecretSource } from '../../config/secret-file.ts'
import type { Refusal } from '../listener.ts'

/** All that is told without a valid token: whatever was asked, and whether or not there is such a thing. */
const UNAUTHORIZED: Refusal = {
  status: 401,
  error: 'unauthorized',
  headers: { 'www-authenticate': 'Bearer realm="citus-ha"' },
}

/** A browser sends a client certificate along with what any page asks of it. */
const FOREIGN: Refusal = {
  status: 403,
  error: 'requests from web pages in a browser are refused',
  headers: {},
}

/**
 * Who may ask at all. Whoever has no valid client certificate does not come so far where one is asked for.
 * @param token null: the certificate is enough
 * @param problem told, in one line, where the token can't be read: then nobody may
 */
export function guardBy(token: SecretSource | null, problem: (line: string) => void) {
  const once = onceInARow((error) => problem(`control: ${error}`))
  return async ({ headers }: FastifyRequest): Promise<Refusal | null> => {
    if (token && !(await isRight(headers.authorization, token, once))) return UNAUTHORIZED
    return headers.origin === undefined ? null : FOREIGN
  }
}

async function isRight(
  header: string | undefined,
  token: SecretSource,
  told: (error: string | null) => void,
): Promise<boolean> {
  const shown = /^bearer +(\S+) *$/i.exec(header ?? '')?.[1]
  if (shown === undefined) return false
  try {
    const secret = await readSecret(token, tokenProblem)
    told(null)
    return timingSafeEqual(digest(shown), digest(secret.reveal()))
  } catch (error) {
    told(error instanceof Error ? error.message : String(error))
    return false
  }
}

/** Whoever asks without a token must not fill the log. */
function onceInARow(tell: (text: string) => void): (text: string | null) => void {
  let last: string | null = null
  return (text) => {
    if (text !== null && text !== last) tell(text)
    last = text
  }
}

/** Of one length for all texts, and so compared in a time that says nothing of how much of them is equal. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/** Whoever asks, for logs and records: his address, and the name in his certificate where he has shown one. */
export function callerOf({ ip, socket }: FastifyRequest): string {
  const name = socket instanceof TLSSocket ? socket.getPeerCertificate().subject?.CN : undefined
  const common = [name]
    .flat()[0]
    ?.replace(/[^\w.@ -]/g, '?')
    .slice(0, 64)
  return common ? `${common}, ${ip}` : ip
}
