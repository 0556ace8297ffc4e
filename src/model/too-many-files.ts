const CODES: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE'])

/** What a person does where no more files can be opened, in one line; null: that is not what went wrong. */
export function tooManyFiles(error: unknown): string | null {
  const code = error instanceof Error && 'code' in error ? error.code : null
  if (!CODES.has(code)) return null
  return `too many open files (${String(code)}): raise the limit, for example: ulimit -n 1024`
}
