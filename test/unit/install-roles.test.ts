import { describe, expect, it } from 'vitest'
import { badRole } from '../../src/install/grants.ts'
import { citusHa } from '../support/scenario.ts'

describe('install --role', () => {
  it.each(['', 'two words', 'a"b', `a'b`, 'a;b', 'a\nb', '1st', 'pg_mine', 'public', 'none', 'x'.repeat(64)])(
    'refuses «%s» before it asks any server',
    async (role) => {
      const ran = await citusHa([
        'install',
        '--coordinator',
        'postgres://nobody@127.0.0.1:1/app',
        '--role',
        role,
      ])
      expect(ran).toMatchObject({ exitCode: 2, stdout: '' })
      expect(ran.stderr).toContain("option '--role <name>'")
    },
  )

  it.each(['citus_ha', 'citus-ha', 'Ops', 'dba@example.com', 'größe', 'x'.repeat(63)])('takes %s', (role) => {
    expect(badRole(role)).toBeNull()
  })
})
