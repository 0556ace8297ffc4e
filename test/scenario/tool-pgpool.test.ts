import { afterAll, beforeAll, describe, it } from 'vitest'
import { Pgpool } from '../support/tools/pgpool.ts'
import { installed, killServer } from '../support/tools/process.ts'
import { Trial } from '../support/tools/trial.ts'

const present = await installed('Pgpool-II', ['pgpool', 'pcp_promote_node', 'pg_md5'])

describe.skipIf(!present)('Pgpool-II, with docs/pgpool.md', () => {
  let trial: Trial
  let pgpool: Pgpool

  beforeAll(async () => {
    trial = await Trial.start('Pgpool-II')
    pgpool = new Pgpool(trial)
    await pgpool.start()
  })
  afterAll(async () => {
    pgpool?.stop()
    await trial?.stop()
  })

  it('fails over, and switches over and back: every copy right', { timeout: 150_000 }, async () => {
    const [a, b] = trial.nodes
    await trial.write()
    await trial.run(async () => {
      const killedAt = performance.now()
      await trial.expectPrimary('the primary is killed', b, a, async () => killServer(a))
      await pgpool.broughtBack(a, 1)
      await trial.follows(a, b)
      await trial.expectPrimary('switchover', a, b, () => pgpool.switchover(a))
      await pgpool.broughtBack(b, 2)
      await trial.follows(b, a)
      await trial.expectPrimary('and back', b, a, () => pgpool.switchover(b))
      await trial.expectLostBefore(killedAt)
    })
  })
})
