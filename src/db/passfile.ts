import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { readRegular, whyUnreadable } from '../config/read-file.ts'

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
  /** Why it has no password for this; '' where it has one. */
  readonly lacks: string
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
  // As for libpq: what is out of reach is not there.
  if ((await stat(path).catch(() => null)) === null)
    return { password: undefined, warning: undefined, lacks: `there is no password file ${path}` }
  try {
    const { bytes, stats } = await readRegular(path)
    const closed = credentials !== undefined && dirname(path) === credentials ? 0o007 : 0o077
    if (process.platform !== 'win32' && (stats.mode & closed) !== 0)
      return ignored(
        `password file ${path} has group or world access; permissions should be u=rw (0600) or less`,
      )
    const password = passwordIn(bytes.toString(), query)
    const { host, port, database, user } = query
    const lacks = `no line of ${path} has one for ${host}:${port}:${database}:${user}`
    return { password, warning: undefined, lacks: password === undefined ? lacks : '' }
  } catch (error) {
    return ignored(`password file ${path}: ${whyUnreadable(error)}`)
  }
}

function ignored(warning: string): PassfileAnswer {
  return { password: undefined, warning, lacks: warning }
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
