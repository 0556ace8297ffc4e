import { test } from 'vitest'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { NO_CLAIMS } from '../../src/diagnose/facts.ts'
import { plan } from '../../src/plan/plan.ts'
import { renderPlan } from '../../src/plan/render.ts'
import { installed, left, lineage, OPTIONS, silent, surveyOf, TWO_WORKERS, testimony, writable } from '../support/builders.ts'
test('x', () => {
  const KNOWN = [lineage(0), lineage(1), lineage(2)]
  const SECOND = { timeline: 2, history: [left(1, '0/50')] }
  const stale = TWO_WORKERS.map((r) => (r.nodeid === 5 ? { ...r, isactive: false } : r))
  const rehearsal = writable('cn2', 0, { ...SECOND, catalog: stale, installed: installed({ lineage: KNOWN }) })
  for (const real of [writable('cn1', 0, { installed: installed({ lineage: KNOWN }) }), silent('cn1')]) {
    const s = surveyOf([real, rehearsal, writable('w1a', 1), writable('w2a', 2)], real.kind === 'answered' ? [] : [testimony('w1a', 'cn1', 'alive'), testimony('w2a', 'cn1', 'down')])
    const d = diagnose(s, NO_CLAIMS)
    console.log(d.map((x) => `${x.group} ${x.rule} ${x.summary}`), renderPlan(plan(s, d, OPTIONS)))
  }
})
