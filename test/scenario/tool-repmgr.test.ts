import { afterAll, beforeAll, describe, it } from 'vitest'
import { standin } from '../support/clients.ts'
import { installed, killServer } from '../support/tools/process.ts'
import { Repmgr } from '../support/tools/repmgr.ts'
import { Trial } from '../support/tools/trial.ts'

const present = await installed('repmgr', ['repmgr', 'repmgrd'], 'repmgr')

describe.skipIf(!present)('repmgr, with docs/repmgr.md', () => {
  let trial: Trial
  let repmgr: Repmgr

  beforeAll(async () => {
    trial = await Trial.start('repmgr', { shared_preload_libraries: standin ? 'repmgr' : 'citus,repmgr' })
    repmgr = new Repmgr(trial)
    await repmgr.start()
  })
  afterAll(async () => {
    await trial?.stop()
  })

  it('fails over, and switches over and back: every copy right', { timeout: 150_000 }, async () => {
    const [a, b] = trial.nodes
    await trial.write()
    await trial.run(async () => {
      const killedAt = performance.now()
      await trial.expectPrimary('the primary is killed', b, a, async () => killServer(a))
      await repmgr.rejoin(a, b)
      await trial.follows(a, b)
      await trial.expectPrimary('switchover', a, b, () => repmgr.switchover(a))
      await trial.follows(b, a)
      await trial.expectPrimary('and back', b, a, () => repmgr.switchover(b))
      await trial.expectLostBefore(killedAt)
    })
  })
})
