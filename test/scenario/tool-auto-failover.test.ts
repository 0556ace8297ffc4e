import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AutoFailover } from '../support/tools/auto-failover.ts'
import { installed } from '../support/tools/process.ts'
import { Trial } from '../support/tools/trial.ts'
import { WatchProcess } from '../support/watch-process.ts'

const present = await installed('pg_auto_failover', ['pg_autoctl'], 'pgautofailover')

describe.skipIf(!present)('pg_auto_failover, with docs/pg_auto_failover.md', () => {
  let trial: Trial
  let autoFailover: AutoFailover
  let watch: WatchProcess

  beforeAll(async () => {
    trial = await Trial.start('pg_auto_failover')
    autoFailover = new AutoFailover(trial)
    await autoFailover.start()
  })
  afterAll(async () => {
    await watch?.stop()
    autoFailover?.stop()
    await trial?.stop()
  })

  it('citus-ha switchover is refused: pg_auto_failover would not know of it', async () => {
    await trial.expectRefusedSwitchover('pg_auto_failover', 'pg_autoctl perform switchover')
  })

  it('fails over beside a watcher, and switches over and back beside a loop that asks the monitor', {
    timeout: 150_000,
  }, async () => {
    const [a, b] = trial.nodes
    await trial.write()
    await trial.run(async () => {
      watch = WatchProcess.start(['--config', trial.config])
      await watch.says('this instance leads')
      await trial.expectPrimary('the primary is lost', b, a, () => autoFailover.lose(a))
      await watch.stop()
      autoFailover.startNode(a)
      await autoFailover.settled(b, a)
      await autoFailover.poll()
      await trial.expectPrimary('switchover', a, b, () => autoFailover.switchover())
      await autoFailover.settled(a, b)
      await trial.expectPrimary('and back', b, a, () => autoFailover.switchover())
      expect(await trial.lost()).toEqual([])
    })
  })
})
