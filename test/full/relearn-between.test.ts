import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { NO_HOOKS } from '../../src/apply/hooks.ts'
import { run } from '../../src/cli/program.ts'
import { standin } from '../support/clients.ts'
import type { Ran } from '../support/scenario.ts'
import { Switching } from '../support/switching.ts'

describe.skipIf(standin)('a cluster that is learnt anew while something else happens', () => {
  let switching: Switching
  const server = (name: string) => switching.server(name)
  const sql = (text: string) =>
    server('coordinator').query(text, [], { database: switching.scenario.cluster.database })
  const lines = () =>
    sql('SELECT groupid, system_identifier, timeline FROM citus_ha.lineage ORDER BY groupid')

  /** Answers the question with yes once that is done; `at` is done when it has looked again. */
  async function relearn(meanwhile: { asked?: () => Promise<void>; at?: () => Promise<void> }): Promise<Ran> {
    const [out, err]: string[][] = [[], []]
    const args = ['relearn', '--coordinator', server('coordinator').url(switching.scenario.cluster.database)]
    const exitCode = await run(args, {
      stdout: { write: (text) => out?.push(text) },
      stderr: { write: (text) => err?.push(text) },
      env: { PATH: process.env.PATH, HOME: '/nonexistent' },
      signal: new AbortController().signal,
      ask: async () => {
        await meanwhile.asked?.()
        return true
      },
      hooks: {
        ...NO_HOOKS,
        reached: async (point) => {
          if (point === 'looked again') await meanwhile.at?.()
        },
      },
    })
    return { exitCode, stdout: out?.join('') ?? '', stderr: err?.join('') ?? '' }
  }

  beforeAll(async () => {
    switching = await Switching.start({
      workers: [{ standbys: [{}] }, { standbys: [{}] }],
      coordinatorStandbys: [{ kind: 'standby' }],
    })
  })
  beforeEach(async () => {
    await switching.scenario.restore()
    expect((await switching.scenario.run('reconcile')).exitCode).toBe(0)
    await sql(`UPDATE citus_ha.lineage SET system_identifier = '1' WHERE groupid = 2`)
  })
  afterAll(async () => {
    await switching?.scenario.stop()
  })

  it('takes nobody who is no primary any more when the answer comes', async () => {
    await switching.scenario.settle()
    let after: unknown
    const ran = await relearn({
      asked: async () => {
        await server('worker-1').stop('fast')
        await server('worker-1-standby').promote()
        await switching.scenario.run('reconcile', '--group', '1')
        await server('worker-1').start()
        after = await lines()
      },
    })
    expect(ran.exitCode, ran.stdout + ran.stderr).toBe(4)
    expect(ran.stderr).toContain('nothing was changed; run the same command again')
    expect(await lines()).toEqual(after)
  })

  it('names the node that fails in the middle, and the same command does all of it', async () => {
    const before = await lines()
    const ran = await relearn({ at: () => server('worker-2').stop('immediate') })
    expect(ran.exitCode, ran.stdout + ran.stderr).toBe(4)
    expect(ran.stderr).toContain(`${switching.at('worker-2')}: `)
    expect(ran.stderr).toContain('run the same command again')
    expect(await lines()).toEqual(before)
    await server('worker-2').start()
    expect(await relearn({})).toMatchObject({ exitCode: 0 })
    expect(await switching.scenario.reconcile('--wait', '10s')).toMatchObject({ outcome: 'converged' })
    await switching.scenario.settle()
    for (const name of ['worker-1', 'worker-2', 'coordinator']) {
      await server(name).stop('fast')
      await server(`${name}-standby`).promote()
      expect(await switching.scenario.reconcile()).toMatchObject({ outcome: 'changed' })
    }
  })
})
