import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Patroni } from '../support/tools/patroni.ts'
import { installed, killServer } from '../support/tools/process.ts'
import { Trial } from '../support/tools/trial.ts'

const present = await installed('Patroni', ['patroni', 'patronictl', 'etcd', 'etcdctl'])

describe.skipIf(!present)('Patroni, with docs/patroni.md', () => {
  let trial: Trial
  let patroni: Patroni

  beforeAll(async () => {
    trial = await Trial.start('Patroni')
    patroni = new Patroni(trial)
    await patroni.start()
  })
  afterAll(async () => {
    await patroni?.stop()
    await trial?.stop()
  })

  it('citus-ha switchover is refused: Patroni would not know of it', async () => {
    await trial.expectRefusedSwitchover('Patroni', 'patronictl switchover')
  })

  it('fails over, and switches over and back, and starts beside a primary: every copy right, nothing acknowledged lost', {
    timeout: 180_000,
  }, async () => {
    const [a, b] = trial.nodes
    await patroni.isSynchronous(b)
    await trial.write()
    await trial.run(async () => {
      await trial.expectPrimary('the primary is lost', b, a, () => patroni.lose(a))
      patroni.startPatroni(a)
      await patroni.isSynchronous(a)
      await trial.expectPrimary('switchover', a, b, () => patroni.switchover(b, a))
      await patroni.isSynchronous(b)
      await trial.expectPrimary('and back', b, a, () => patroni.switchover(a, b))
      await patroni.isSynchronous(a)
      await trial.expectPrimary(
        'promoted while Patroni is down, which then starts beside it',
        a,
        b,
        async () => {
          for (const node of [a, b]) await patroni.leave(node)
          killServer(b)
          await a.promote()
          patroni.startPatroni(a)
        },
      )
      expect(await trial.lost()).toEqual([])
    })
  })
})
