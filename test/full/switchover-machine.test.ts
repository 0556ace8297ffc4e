import { describe, expect, it } from 'vitest'
import { standin } from '../support/clients.ts'
import {
  OTHER_HOST,
  registerAt,
  restoredBeforeEach,
  SHORT_LIVED,
  type Switching,
} from '../support/switching.ts'

describe.skipIf(standin)('a switchover of everything on one machine', () => {
  let switching: Switching
  restoredBeforeEach(
    (made) => {
      switching = made
    },
    {
      workers: [{ standbys: [{}] }, { standbys: [{}] }, { standbys: [{}] }],
      coordinatorStandbys: [{ kind: 'standby' }],
      settings: { ...SHORT_LIVED, listen_addresses: `127.0.0.1,${OTHER_HOST}` },
      // The third group and the standbys are on another one.
      before: (scenario) => registerAt(scenario, OTHER_HOST, ['coordinator', 'worker-1', 'worker-2']),
    },
  )

  it('moves its groups and no other, the coordinator as well', async () => {
    const running = await switching.clients(['worker-3'])
    const { report } = await switching.switched('--node', OTHER_HOST)
    expect(report.moves.map(({ group }: { group: number }) => group)).toEqual([0, 1, 2])
    await switching.expectAll(running, 'coordinator-standby')
    const rows = await switching.scenario.rows(switching.server('coordinator-standby'))
    for (const [group, name] of [
      'coordinator-standby',
      'worker-1-standby',
      'worker-2-standby',
      'worker-3',
    ].entries())
      expect(rows).toContain(`${group + 1} group ${group} primary ${switching.at(name)}`)
    for (const copy of ['worker-1-standby', 'worker-2-standby', 'worker-3'])
      expect(await switching.scenario.rows(switching.server(copy)), copy).toEqual(rows)
    const again = await switching.switchover('--node', OTHER_HOST)
    expect(again).toMatchObject({
      exitCode: 2,
      stderr: `citus-ha: no group has its primary on ${OTHER_HOST}\n`,
    })
  })
})
