import { describe, expect, it } from 'vitest'
import { keysOf, standin, timed } from '../support/clients.ts'
import { restoredBeforeEach, type Switching } from '../support/switching.ts'

const LONG_MS = 300_000

interface Setting {
  readonly says: string
  readonly group: 0 | 1
  /** Of the standby that is to be promoted. */
  readonly settings: Readonly<Record<string, string>>
  readonly refused: RegExp
}

const SETTINGS: readonly Setting[] = [
  {
    says: 'waits for a standby, and none is attached',
    group: 1,
    settings: { synchronous_standby_names: '*' },
    refused: /H120.*waits for 1 synchronous standby.*synchronous_standby_names = ''/s,
  },
  {
    says: 'waits for any two',
    group: 1,
    settings: { synchronous_standby_names: 'ANY 2 (*)' },
    refused: /H120.*waits for 2 synchronous standbys/s,
  },
  {
    says: 'is the coordinator’s, and waits for its old primary',
    group: 0,
    settings: { synchronous_standby_names: 'FIRST 1 (coordinator)' },
    refused: /H120.*waits for 1 synchronous standby/s,
  },
]

/** What doctor would call an error of the new primary is a refusal of the switchover; what is lost with the old one is asked. */
describe.skipIf(standin)('a switchover asks what will be', () => {
  let switching: Switching
  restoredBeforeEach(
    (made) => {
      switching = made
    },
    { coordinatorStandbys: [{ kind: 'standby' }] },
  )

  it.each(SETTINGS)(
    'refuses a target that $says; once that is mended, no write hangs',
    async ({ group, settings, refused }) => {
      const old = group === 0 ? 'coordinator' : 'worker-1'
      const target = switching.server(`${old}-standby`)
      await target.configure(settings)
      await target.restart()
      await switching.scenario.streams(target)
      const blocked = await switching.switchover('--group', `${group}`)
      const { database, coordinator } = switching.scenario.cluster
      const [id = 0] = await keysOf(switching.scenario.cluster, 1, 400_000, 400_100)
      if (blocked.exitCode === 0) {
        const entry = group === 0 ? target : coordinator
        const write = `SET statement_timeout = '5s'; INSERT INTO items VALUES (${id}, 'after')`
        const { ms } = await timed(() => entry.query(write, [], { database }).catch(() => null))
        expect(ms, 'a write hangs after exit code 0').toBeLessThan(4000)
      }
      expect(blocked.exitCode, JSON.stringify(blocked.report)).toBe(3)
      expect(blocked.report.refusals.join('\n')).toMatch(refused)
      await switching.expectNoIntent()
      await switching.expectWritable(old)
      for (const name of Object.keys(settings)) {
        await target.query(`ALTER SYSTEM RESET ${name}`)
        await target.configure({ [name]: '' })
      }
      await target.reload()
      await switching.switched('--group', `${group}`)
      const entry = group === 0 ? target : coordinator
      const write = `SET statement_timeout = '5s'; INSERT INTO items VALUES (${id}, 'after')`
      await entry.query(write, [], { database })
    },
    LONG_MS,
  )

  it(
    'what hangs after a plain failover is named by reconcile and status, and no more once it is mended',
    async () => {
      const { scenario } = switching
      const target = switching.server('worker-1-standby')
      await target.configure({ synchronous_standby_names: '*' })
      await switching.server('worker-1').kill()
      await target.promote()
      const hangs = new RegExp(
        `${switching.at('worker-1-standby')} waits for one synchronous standby .* writes hang`,
      )
      const changed = await scenario.reconcile()
      expect(changed).toMatchObject({ exitCode: 0, outcome: 'changed' })
      expect(changed.warnings.join('\n')).toMatch(hangs)
      expect((await scenario.run('status')).stdout).toMatch(hangs)
      expect((await scenario.reconcile()).warnings.join('\n')).toMatch(hangs)
      await target.configure({ synchronous_standby_names: '' })
      await target.reload()
      expect((await scenario.reconcile()).warnings.join('\n')).not.toMatch(/hang/)
    },
    LONG_MS,
  )

  it(
    'names the logical slots of the old primary, with what is unread, and asks for --allow-slot-loss',
    async () => {
      const { database } = switching.scenario.cluster
      const old = switching.server('worker-1')
      const make = `SELECT pg_create_logical_replication_slot('feed', 'pgoutput')`
      await old.query(make, [], { database })
      await old.query(`SELECT pg_logical_emit_message(true, 'a test', 'unread')`, [], { database })
      const doctor = await switching.scenario.run('doctor')
      expect(doctor.stdout).toMatch(/H190.*feed/s)
      const refused = await switching.switchover('--group', '1')
      expect(refused.exitCode, JSON.stringify(refused.report)).toBe(3)
      expect(refused.report.refusals.join('\n')).toMatch(/slot feed .*not active.*bytes.*--allow-slot-loss/s)
      await switching.expectUntouched()
      const planned = await switching.switchover('--group', '1', '--dry-run', '--allow-slot-loss')
      expect(planned.exitCode, JSON.stringify(planned.report)).toBe(0)
      expect(planned.report.plan.join('\n')).toMatch(/slot feed .*not active.*bytes/s)
      await switching.switched('--group', '1', '--allow-slot-loss')
    },
    LONG_MS,
  )
})
