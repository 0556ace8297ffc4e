import { readFile } from 'node:fs/promises'
import { ConfigError } from './config-error.ts'
import { Secret } from './secret.ts'

/** A secret as the file gives it: in itself, or as the name of another file that may change while we run. */
export type SecretSource =
  | { readonly kind: 'text'; readonly secret: Secret }
  /** Read again at each use. */
  | { readonly kind: 'file'; readonly file: string }

/**
 * @param problem says what is wrong with a text, without showing it; null: nothing
 * @throws ConfigError in one line
 */
export async function readSecret(
  source: SecretSource,
  problem: (text: string) => string | null,
): Promise<Secret> {
  if (source.kind === 'text') return source.secret
  const text = await readFile(source.file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError(`${source.file}: ${READING[error.code ?? ''] ?? 'cannot be read'}`, {
      cause: error,
    })
  })
  // Editors and `openssl rand` end it with a line's end.
  const secret = text.trimEnd()
  const wrong = problem(secret)
  if (wrong !== null) throw new ConfigError(`${source.file}: ${wrong}`)
  return new Secret(secret)
}

/** Why a file could not be read, by the error's code. */
export const READING: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'is a directory',
}
