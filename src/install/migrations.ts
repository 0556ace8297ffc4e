import { readdirSync } from 'node:fs'
import { SQL_DIRECTORY, statement } from '../db/sql.ts'

/** One file of `sql/install`: `<number>_<name>.sql`, immutable once released. */
export interface Migration {
  readonly number: number
  readonly name: string
  readonly sql: string
}

/** In order, without gaps. */
export function migrations(): Migration[] {
  return readdirSync(new URL('install/', SQL_DIRECTORY))
    .map((file) => /^(\d{3})_(\w+)\.sql$/.exec(file))
    .filter((match) => match !== null)
    .map(([file, digits, name]) => ({
      number: Number(digits),
      name: name ?? '',
      sql: statement(`install/${file.replace(/\.sql$/, '')}`),
    }))
    .sort((a, b) => a.number - b.number)
}

/** The migration a copy has to have for this program to rewrite it. */
export function currentMigration(): number {
  return migrations().at(-1)?.number ?? 0
}
