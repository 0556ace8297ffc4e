import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { functionFiles } from '../../src/db/sql.ts'
import { migrations } from '../../src/install/migrations.ts'

/** Migrations that somebody has installed: they never change, and a correction is a further one. */
const RELEASED: Readonly<Record<number, string>> = {
  1: 'ed5a887462e751c19627ba1f92e1879b76db2f267de6bef8d894191ddf7d0661',
  2: '5f240ece4cd95c8143d0a1387ca0f62397316c03b63a2763abf68386248d6b90',
}

describe('migrations', () => {
  it.each(Object.keys(RELEASED).map(Number))('migration %i is as it was released', (number) => {
    const sql = migrations().find((migration) => migration.number === number)?.sql ?? ''
    expect(createHash('sha256').update(sql).digest('hex')).toBe(RELEASED[number])
  })

  it('are numbered without gaps', () => {
    expect(migrations().map(({ number }) => number)).toEqual(migrations().map((_, n) => n + 1))
  })

  it('create no function from the third on: sql/functions does', () => {
    for (const { number, sql } of migrations())
      if (number > 2) expect(sql).not.toMatch(/CREATE (OR REPLACE )?FUNCTION/i)
    for (const sql of functionFiles()) expect(sql).toMatch(/CREATE OR REPLACE FUNCTION citus_ha\./)
  })
})
