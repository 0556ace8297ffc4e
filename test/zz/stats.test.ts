import fc from 'fast-check'
import { test } from 'vitest'
import { build, clusterDraw } from '../support/random-cluster.ts'
import { lookAt } from '../support/simulation.ts'

test('stats', async () => {
  const count = new Map<string, number>()
  const inc = (k: string) => count.set(k, (count.get(k) ?? 0) + 1)
  await fc.assert(
    fc.asyncProperty(clusterDraw, async (draw) => {
      const b = build(draw)
      if (b.healthy) inc('healthy')
      const v = await lookAt(b.cluster, b.seeds, b.claims).catch(() => null)
      if (!v) {
        inc('no coordinator')
        return
      }
      for (const d of v.diagnoses) inc(d.rule)
      for (const k of new Set(v.plan.changes.map((c) => c.kind))) inc(k)
      if (v.plan.forbidden.length) inc('forbidden')
      if (v.plan.unsynced.length) inc('unsynced')
      if (v.plan.warnings.some((w) => w.includes('set inactive'))) inc('set inactive')
    }),
    { numRuns: 3000 },
  )
  console.log([...count].sort())
})
