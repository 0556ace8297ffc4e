import { describe, expect, it } from 'vitest'
import { functionFiles } from '../../src/db/sql.ts'

/** Each function's definition up to its body. */
const HEADS = functionFiles().flatMap((sql) => {
  const parts = sql.split('CREATE OR REPLACE FUNCTION ').slice(1)
  return parts.map((part) => part.slice(0, part.indexOf('AS $$')).replaceAll(/\s+/g, ' '))
})

describe('a function of the schema citus_ha', () => {
  it.each(HEADS.map((head) => [head.slice(0, head.indexOf('(')), head]))(
    '%s depends on nothing of the session',
    (_, head) => {
      expect(head).toContain('SET search_path = pg_catalog, pg_temp ')
      expect(head).toContain('SET standard_conforming_strings = on ')
    },
  )

  it('turns no moment into text, and no text without its zone into a moment', () => {
    for (const sql of functionFiles()) {
      const code = sql.replaceAll(/--.*$/gm, '')
      expect(code).not.toMatch(
        /(timestamp\(\)|now\(\)|_at|since)::text|to_timestamp|to_char|::date\b|::time\b|::timestamp\b/,
      )
    }
  })
})
