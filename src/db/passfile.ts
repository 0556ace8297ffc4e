import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Whose password is looked for. */
export interface PassfileQuery {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
}

export interface PassfileAnswer {
  readonly password: string | undefined
  /** Why the file was ignored though it is there, as libpq warns. */
  readonly warning: string | undefined
}

/**
 * libpq's password file ("The Password File" in PostgreSQL's manual): `host:port:database:user:password`, `*` for
 * any, `\` before a colon or a backslash; the first line that fits counts. A missing file is no error.
 * @param credentials where systemd puts what it hands to a service (`CREDENTIALS_DIRECTORY`, systemd.exec(5)): there an access
 * control list lets the service alone in, and shows as access of the group
 */
export async function lookUpPassfile(
  path: string,
  query: PassfileQuery,
  credentials?: string,
): Promise<PassfileAnswer> {
  const refused = await refusal(path, credentials !== undefined && dirname(path) === credentials)
  if (refused !== null) return { password: undefined, warning: refused || undefined }
  const text = await readFile(path, 'utf8').catch(() => null)
  if (text === null) return { password: undefined, warning: `password file ${path} cannot be read` }
  return { password: passwordIn(text, query), warning: undefined }
}

/** @returns the warning; '' where there is no file; null where it may be used. */
async function refusal(path: string, isCredential: boolean): Promise<string | null> {
  const file = await stat(path).catch(() => null)
  if (file === null) return ''
  if (!file.isFile()) return `password file ${path} is not a plain file`
  const closed = isCredential ? 0o007 : 0o077
  if (process.platform !== 'win32' && (file.mode & closed) !== 0) {
    return `password file ${path} has group or world access; permissions should be u=rw (0600) or less`
  }
  return null
}

/** The password of the first line of `text` that fits; undefined where none does, or it is empty. */
export function passwordIn(text: string, { host, port, database, user }: PassfileQuery): string | undefined {
  const wanted = [host, String(port), database, user]
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith('#')) continue
    const fields = fieldsOf(line)
    const fits = wanted.every((value, i) => fields[i] === '*' || unescaped(fields[i] ?? '') === value)
    if (fields.length === 5 && fits) return unescaped(fields[4] ?? '') || undefined
  }
  return undefined
}

/** Splits at the first four colons that no backslash escapes. */
function fieldsOf(line: string): string[] {
  const head = /^((?:\\.|[^:\\])*):((?:\\.|[^:\\])*):((?:\\.|[^:\\])*):((?:\\.|[^:\\])*):(.*)$/.exec(line)
  return head ? head.slice(1) : []
}

function unescaped(field: string): string {
  return field.replace(/\\(.)/g, '$1')
}
