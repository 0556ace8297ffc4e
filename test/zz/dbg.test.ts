import { readFileSync } from 'node:fs'
import { test } from 'vitest'
import { coordinatorOf } from '../../src/model/kinds.ts'
import { renderPlan } from '../../src/plan/render.ts'
import { build } from '../support/random-cluster.ts'
import { lookAt } from '../support/simulation.ts'

test('dbg', async () => {
  const draw = JSON.parse(readFileSync('/tmp/draw.json', 'utf8'))
  const b = build(draw)
  for (let i = 0; i < 4; i++) {
    const v = await lookAt(b.cluster, b.seeds, b.claims)
    console.log(
      i,
      v.diagnoses.map((d) => `${d.group} ${d.rule} ${d.summary}`),
      renderPlan(v.plan),
      JSON.stringify({
        u: v.plan.unsynced,
        p: v.plan.proofs,
        r: v.plan.remedies,
        e: v.plan.remediesEnded,
        w: v.plan.warnings,
      }),
    )
    b.cluster.apply(v.plan, () => {})
    const a = coordinatorOf(v.survey.nodes)
    if (a) b.cluster.sync(a.instance)
    if (i === 1) {
      b.cluster.cut.clear()
      for (const s of b.cluster.servers.values()) s.hiddenFromUs = false
    }
  }
})
