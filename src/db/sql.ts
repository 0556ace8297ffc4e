import { readdirSync, readFileSync } from 'node:fs'
import pg from 'pg'

/** Where `sql/` of this package is: the same two steps up from `src/db` and from `dist/db`. */
export const SQL_DIRECTORY = new URL('../../sql/', import.meta.url)

const statements = new Map<string, string>()

/** The text of `sql/<name>.sql`, read once. */
export function statement(name: string): string {
  const known = statements.get(name)
  if (known !== undefined) return known
  const text = readFileSync(new URL(`${name}.sql`, SQL_DIRECTORY), 'utf8')
  statements.set(name, text)
  return text
}

/** `sql/functions`, one text a file: applied after the migrations, in this order, each time something differs. */
export function functionFiles(): string[] {
  return readdirSync(new URL('functions/', SQL_DIRECTORY))
    .filter((file) => /^\d{2}_\w+\.sql$/.test(file))
    .sort()
    .map((file) => statement(`functions/${file.replace(/\.sql$/, '')}`))
}

/**
 * A value as an SQL literal, for what takes no parameters (`COMMIT PREPARED`, several statements in one
 * message). With its siblings below the only place where a value becomes SQL text.
 */
export function literal(value: string | number | bigint): string {
  return typeof value === 'string' ? pg.escapeLiteral(value) : `${value}`
}

export function intArrayLiteral(values: readonly number[]): string {
  return `'{${values.map((value) => Math.trunc(value)).join(',')}}'::int[]`
}

export function jsonLiteral(value: object): string {
  return `${pg.escapeLiteral(JSON.stringify(value))}::jsonb`
}

/** An identifier, quoted. */
export function identifier(name: string): string {
  return pg.escapeIdentifier(name)
}
