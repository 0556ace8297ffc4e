import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Patroni } from '../support/tools/patroni.ts'
import { installed } from '../support/tools/process.ts'
import { Trial } from '../support/tools/trial.ts'

const present = await installed('Patroni', 'patroni', 'patronictl', 'etcd', 'etcdctl')

describe.skipIf(!present)('Patroni, with docs/patroni.md', () => {
  let trial: Trial
  let patroni: Patroni

  beforeAll(async () => {
    trial = await Trial.start('Patroni')
    patroni = new Patroni(trial)
    await patroni.start().catch((error: unknown) => {
      throw new Error(trial.logs(), { cause: error })
    })
  })
  afterAll(async () => {
    await patroni?.stop()
    await trial?.stop()
  })

  it('fails over, and switches over and back: every copy right, nothing acknowledged lost', async () => {
    const [a, b] = trial.nodes
    await patroni.isSynchronous(a)
    await trial.write()
    try {
      await trial.expectPrimary('the primary is killed', b, a, async () => trial.kill(a))
      await trial.follows(a)
      await patroni.isSynchronous(b)
      await trial.expectPrimary('switchover', a, b, () => patroni.switchover(b, a))
      await trial.follows(b)
      await patroni.isSynchronous(a)
      await trial.expectPrimary('and back', b, a, () => patroni.switchover(a, b))
      expect(await trial.lost()).toEqual([])
    } catch (error) {
      throw new Error(`${trial.logs()}\n${JSON.stringify(await trial.program.calls(), null, 1)}`, {
        cause: error,
      })
    }
    trial.report()
    const calls = await trial.program.calls()
    process.stdout.write(`${JSON.stringify(calls, null, 1)}\n`)
  })
})
