import { existsSync } from 'node:fs'
import { chown, copyFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { serverAccount } from '../../src/demo/account.ts'
import type { Server } from '../../src/demo/server.ts'
import { formatAddress } from '../../src/model/node.ts'
import { Scenario } from '../support/scenario.ts'

/** What happens to a cluster over the years: each is told as it is, and ends with what can be typed. */
describe('the life of a cluster', () => {
  let scenario: Scenario
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string) => formatAddress(server(name))

  beforeAll(async () => {
    scenario = await Scenario.start({
      workers: [{ standbys: [{}, {}] }, { standbys: [{}] }],
      coordinatorStandbys: [{ kind: 'standby' }],
    })
  })
  beforeEach(async () => {
    await scenario.restore()
  })
  afterAll(async () => {
    await scenario?.stop()
  })

  async function failOver(from: string, to: string): Promise<void> {
    await server(from).kill()
    await server(to).promote()
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'changed' })
  }

  it.each([
    ['a worker', 'worker-1', 'worker-1-standby'],
    ['the coordinator', 'coordinator', 'coordinator-standby'],
  ])(
    'a history file that is gone from %s’s pg_wal is no other line, and keeps nobody out',
    async (_, from, to) => {
      await failOver(from, to)
      const file = join(server(to).directory, 'pg_wal', '00000002.history')
      expect(existsSync(file)).toBe(true)
      await rm(file)
      expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', refusals: [] })
      await failOver('worker-2', 'worker-2-standby')
      const rows = await scenario.rows(server(to))
      expect(rows).toContain(`3 group 2 primary ${at('worker-2-standby')}`)
      expect(await scenario.rows(server('worker-2-standby'))).toEqual(rows)
    },
  )

  it('a line that left before a timeline that was recorded and died is refused, and taken by the command that it names', async () => {
    await failOver('worker-1', 'worker-1-standby')
    await server('worker-1-standby').kill()
    // As from an archive: it takes the next number, and comes from where it was.
    const other = server('worker-1-standby-2')
    const history = (of: Server) => join(of.directory, 'pg_wal', '00000002.history')
    await copyFile(history(server('worker-1-standby')), history(other))
    const account = await serverAccount()
    if (account) await chown(history(other), account.uid, account.gid)
    await other.configure({ recovery_target_timeline: 'current' })
    await other.restart()
    await other.promote()
    const refused = await scenario.run('reconcile')
    expect(refused.exitCode).toBe(3)
    const told = refused.stdout + refused.stderr
    const command = `citus-ha reconcile --promoted ${at('worker-1-standby-2')}`
    expect(told).toContain(command)
    expect(told).toContain('timeline 2 of the group is not in the history of its timeline 3: 1 until ')
    const [, ...typed] = command.split(' ')
    const taken = await scenario.run(...typed)
    expect(taken.exitCode, taken.stdout + taken.stderr).toBe(0)
    const rows = await scenario.rows(server('coordinator'))
    expect(rows).toContain(`2 group 1 primary ${at('worker-1-standby-2')}`)
    expect(await scenario.reconcile()).toMatchObject({ outcome: 'converged', refusals: [] })
  })
})
