import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { putInHba } from '../support/hba.ts'
import { BlackHole } from '../support/proxy.ts'
import { Scenario } from '../support/scenario.ts'

/** The nodes let the role in from citus-ha's own host; to this one the way is cut, and the others are others. */
const FROM_NO_OTHER_NODE = ['host all citus_ha 127.0.0.1/32 reject']

interface Situation {
  readonly name: string
  readonly make: (scenario: Scenario) => Promise<unknown>
  readonly reason: string
  readonly evidence: RegExp
}

const of = (scenario: Scenario, name: string): Server => scenario.cluster.server(name)

/** Nobody who is asked through Citus can tell. */
async function blindEverybody(scenario: Scenario): Promise<void> {
  const { database } = scenario.cluster
  const sql = 'REVOKE EXECUTE ON FUNCTION pg_catalog.citus_check_connection_to_node(text, int) FROM PUBLIC'
  for (const name of ['coordinator', 'worker-1', 'worker-2'])
    await of(scenario, name).query(sql, [], { database })
  await scenario.settle()
}

const SITUATIONS: readonly Situation[] = [
  {
    name: 'nodes let the role in from the host of citus-ha only',
    make: async (scenario) => await putInHba(of(scenario, 'worker-1'), FROM_NO_OTHER_NODE),
    reason: 'primary-alive-elsewhere',
    evidence: /citus_check_connection_to_node\): alive, gets an answer from it.*pg_hba\.conf rejects/,
  },
  {
    name: 'its connection slots are used up',
    make: async (scenario) => {
      const primary = of(scenario, 'worker-1')
      await primary.configure({ superuser_reserved_connections: '99' })
      await primary.restart()
      await primary.connect({ user: 'citus_ha' }) // the last slot; the session ends with the server
    },
    reason: 'primary-alive-elsewhere',
    evidence: /alive, gets an answer from it.*reserved for/,
  },
  {
    name: 'the other nodes have no password for it',
    make: async (scenario) => {
      const primary = of(scenario, 'worker-1')
      await primary.query(`ALTER ROLE citus_ha PASSWORD 'between-us'`)
      await putInHba(primary, ['host all citus_ha 127.0.0.1/32 scram-sha-256'])
    },
    reason: 'primary-alive-elsewhere',
    evidence: /alive, gets an answer from it.*no password/,
  },
  {
    name: 'nobody can be asked, and another standby has no WAL receiver: it reads an archive',
    make: async (scenario) => {
      await blindEverybody(scenario)
      await of(scenario, 'worker-1-standby-2').configure({ primary_conninfo: '' })
    },
    reason: 'primary-unknown',
    evidence: /wal-receiver\): unknown, has no WAL receiver/,
  },
  {
    name: 'nobody can be asked, and the slot of another standby is missing',
    make: async (scenario) => {
      await blindEverybody(scenario)
      await of(scenario, 'worker-1-standby-2').configure({ primary_slot_name: 'missing' })
    },
    reason: 'primary-unknown',
    evidence: /wal-receiver\): unknown, has no WAL receiver/,
  },
]

describe('a link between citus-ha and a living primary that is cut', () => {
  let scenario: Scenario
  let hole: BlackHole
  let file: string
  const server = (name: string): Server => of(scenario, name)
  const at = (name: string): string => formatAddress(server(name))
  const noReceiver = async (name: string) =>
    (await server(name).query('SELECT FROM pg_stat_wal_receiver')).length === 0

  beforeAll(async () => {
    scenario = await Scenario.start({ coordinatorStandbys: [], workers: [{ standbys: [{}, {}] }, {}] })
  })
  beforeEach(async () => {
    await scenario.restore()
    hole = await BlackHole.open()
    file = await scenario.configFile({
      addresses: { [at('worker-1')]: { connect: hole.address } },
      routing: { primaryDown: 'secondary' },
    })
  })
  afterEach(async () => {
    await hole.close()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  describe.each(SITUATIONS)('$name', ({ make, reason, evidence }) => {
    const ways = ['a standby is promoted', 'nothing is promoted']
    // A standby that is not promoted streams from the primary, and says so.
    it.each(reason === 'primary-unknown' ? ways.slice(0, 1) : ways)(
      '%s: nothing is written',
      async (what) => {
        await make(scenario)
        if (reason === 'primary-unknown')
          await waitUntil('it has no WAL receiver', () => noReceiver('worker-1-standby-2'))
        if (what === 'a standby is promoted') await server('worker-1-standby').promote()
        const before = await scenario.footprint()
        const report = await scenario.reconcile('--config', file)
        expect(report, JSON.stringify(report.refusals)).toMatchObject({
          exitCode: 3,
          changes: [],
          refusals: [{ group: 1, reason }],
        })
        expect(report.refusals[0]?.evidence.join('\n')).toMatch(evidence)
        expect(await scenario.footprint()).toEqual(before)
      },
    )
  })

  it('to a living secondary: reads go on, and its copy is named', async () => {
    const cut = await scenario.configFile({
      addresses: { [at('worker-1-standby')]: { connect: hole.address } },
    })
    await putInHba(server('worker-1-standby'), FROM_NO_OTHER_NODE)
    const report = await scenario.reconcile('--config', cut)
    // It follows its primary, and reads go through it by a copy that nobody could read.
    expect(report).toMatchObject({ exitCode: 5, outcome: 'unproved', changes: [] })
    expect(report.copies.filter(({ state }) => state !== 'right')).toMatchObject([
      { node: at('worker-1-standby'), state: 'unreachable' },
    ])
  })

  it('and a primary that is dead is still followed', async () => {
    await server('worker-1').kill()
    await server('worker-1-standby').promote()
    const report = await scenario.reconcile('--config', file)
    expect(report, JSON.stringify(report.refusals)).toMatchObject({ exitCode: 0, outcome: 'changed' })
  })
})
