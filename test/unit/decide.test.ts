import { expect, test } from 'vitest'
import { decide } from '../../src/recover/decide.ts'

test('what a newer coordinator has prepared is left alone, and the command is told that ends it', () => {
  const gid = 'citus_ha_sim_app_3_7_deadbeef_1'
  const found = decide(gid, { cluster: 'sim', database: 'app', timeline: 2, committed: new Set() })
  expect(found.action).toBe('leave')
  expect(found.why).toMatch(
    /timeline 3, but this coordinator is on timeline 2: .* ROLLBACK PREPARED 'citus_ha_sim_app_3_7_deadbeef_1'/,
  )
})
