import { afterEach, describe, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { standin } from '../support/clients.ts'
import { Patroni } from '../support/tools/patroni.ts'
import { Pgpool } from '../support/tools/pgpool.ts'
import { installed, killServer } from '../support/tools/process.ts'
import { Repmgr } from '../support/tools/repmgr.ts'
import { Trial } from '../support/tools/trial.ts'
import { WatchProcess } from '../support/watch-process.ts'

const REPMGR = { shared_preload_libraries: standin ? 'repmgr' : 'citus,repmgr' }

const patroniIsThere = await installed('Patroni', ['patroni', 'patronictl', 'etcd', 'etcdctl'])
const repmgrIsThere = await installed('repmgr', ['repmgr', 'repmgrd'], 'repmgr')
const pgpoolIsThere = await installed('Pgpool-II', ['pgpool', 'pcp_promote_node', 'pg_md5'])

/** The tools as in their scenarios, but for their hook, which fails: a watcher catches what it missed. */
describe('a tool whose hook is broken, beside a watcher', () => {
  let ends: (() => unknown)[] = []

  afterEach(async () => {
    for (const end of ends.reverse()) await end()
    ends = []
  })

  async function begin(name: string, settings: Readonly<Record<string, string>> = {}): Promise<Trial> {
    const trial = await Trial.start(name, settings)
    ends.push(() => trial.stop())
    await trial.program.breakIt()
    return trial
  }

  async function watched(trial: Trial): Promise<readonly [Server, Server]> {
    const watch = WatchProcess.start(['--config', trial.config])
    ends.push(() => watch.stop())
    await watch.says('this instance leads')
    await trial.write()
    return trial.nodes
  }

  it.skipIf(!patroniIsThere)('Patroni: failover, and switchover back', { timeout: 200_000 }, async () => {
    const trial = await begin('Patroni, watched')
    const patroni = new Patroni(trial)
    ends.push(() => patroni.stop())
    await patroni.start()
    await patroni.isSynchronous(trial.nodes[1])
    const [a, b] = await watched(trial)
    await trial.run(async () => {
      await trial.expectPrimary('the primary is lost', b, a, () => patroni.lose(a))
      patroni.startPatroni(a)
      await patroni.isSynchronous(a)
      await trial.expectPrimary('switchover back', a, b, () => patroni.switchover(b, a))
    })
  })

  it.skipIf(!repmgrIsThere)('repmgr: failover', { timeout: 200_000 }, async () => {
    const trial = await begin('repmgr, watched', REPMGR)
    const repmgr = new Repmgr(trial)
    await repmgr.start()
    const [a, b] = await watched(trial)
    await trial.run(async () => {
      await trial.expectPrimary('the primary is killed', b, a, async () => killServer(a))
    })
  })

  it.skipIf(!pgpoolIsThere)('Pgpool-II: failover', { timeout: 200_000 }, async () => {
    const trial = await begin('Pgpool-II, watched')
    const pgpool = new Pgpool(trial)
    ends.push(() => pgpool.stop())
    await pgpool.start()
    const [a, b] = await watched(trial)
    await trial.run(async () => {
      await trial.expectPrimary('the primary is killed', b, a, async () => killServer(a))
    })
  })
})
