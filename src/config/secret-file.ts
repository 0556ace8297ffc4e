import { ConfigError } from './config-error.ts'
import { readGiven, whyUnreadable } from './read-file.ts'
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
  const { bytes } = await readGiven(source.file).catch((error: unknown) => {
    throw new ConfigError(`${source.file}: ${whyUnreadable(error)}`, { cause: error })
  })
  // Editors and `openssl rand` end it with a line's end.
  const secret = bytes.toString().trimEnd()
  const wrong = problem(secret)
  if (wrong !== null) throw new ConfigError(`${source.file}: ${wrong}`)
  return new Secret(secret)
}
