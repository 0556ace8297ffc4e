import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { standin } from '../support/clients.ts'
import { restoredBeforeEach, Switching } from '../support/switching.ts'

const LONG_MS = 120_000

describe.skipIf(standin)('a switchover that comes to nothing', () => {
  let switching: Switching
  restoredBeforeEach((made) => {
    switching = made
  })

  it('a promotion that is refused is undone, and nobody has noticed', async () => {
    const running = await switching.clients()
    const { exitCode, report } = await switching.switchover(
      '--group',
      '1',
      '--promote-command',
      'echo no such thing; false',
    )
    expect(exitCode).toBe(4)
    expect(report).toMatchObject({ outcome: 'blocked', left: [] })
    expect(report.why).toContain('exit code 1: no such thing')
    await switching.expectUntouched()
    await switching.expectAll(running)
  })

  it('a stop that fails is undone by --undo-command', async () => {
    const running = await switching.clients()
    const flag = `${switching.scenario.cluster.directory}/undone`
    const { exitCode, report } = await switching.switchover(
      '--group',
      '1',
      '--demote-first',
      '--demote-command',
      'exit 7',
      '--undo-command',
      `echo $CITUS_HA_OLD_PORT > ${flag}`,
    )
    expect(exitCode).toBe(4)
    expect(report.why).toContain('exit code 7')
    await switching.expectUntouched()
    await switching.expectAll(running)
  })

  it.each([
    { step: 'intend', commands: ['--demote-first', '--demote-command', 'true'] },
    { step: 'replay', commands: ['--demote-first', '--demote-command', 'true'] },
    { step: 'promoting', commands: ['--promote-command', 'true'] },
    { step: 'promoting', commands: [] },
  ])(
    'before a command of his has run, his --undo-command is not run: at $step with $commands',
    async ({ step, commands }) => {
      const flag = `${switching.scenario.cluster.directory}/${step}-undone`
      const reached = async (point: string) => {
        if (point === step) throw new Error('it ends here')
      }
      const undo = ['--undo-command', `touch ${flag}`]
      const ran = await switching.scenario.runWith(
        { reached },
        'switchover',
        ...['--yes', '--json', '--group', '1', ...commands, ...undo],
      )
      expect(JSON.parse(ran.stdout)).toMatchObject({ outcome: 'blocked', why: 'it ends here', left: [] })
      expect(existsSync(flag)).toBe(false)
      await switching.expectUntouched()
    },
  )

  it('an old primary that was stopped already is started again by --undo-command', async () => {
    const flag = `${switching.scenario.cluster.directory}/started`
    const ran = switching.switchover(
      '--group',
      '1',
      '--demote-first',
      '--demote-command',
      switching.stopping('worker-1'),
      '--promote-command',
      'false',
      '--undo-command',
      `until test -e ${flag}; do sleep 0.05; done`,
    )
    await waitUntil('it is stopped', () => !switching.server('worker-1').isRunning)
    await switching.server('worker-1').start()
    await writeFile(flag, '')
    const { exitCode, report } = await ran
    expect(exitCode, JSON.stringify(report)).toBe(4)
    expect(report).toMatchObject({ outcome: 'blocked', left: [] })
    await switching.expectUntouched()
    await switching.scenario.streams(switching.server('worker-1-standby'))
    expect(await switching.scenario.reconcile()).toMatchObject({ exitCode: 0, changes: [] })
  })

  it('says what is left where nobody can start it again, and a later run undoes the rest', async () => {
    const { exitCode, report } = await switching.switchover(
      '--group',
      '1',
      '--demote-first',
      '--demote-command',
      switching.stopping('worker-1'),
      '--promote-command',
      'false',
    )
    expect(exitCode).toBe(4)
    expect(report.left.join()).toContain('no --undo-command')
    await switching.server('worker-1').start()
    await switching.scenario.streams(switching.server('worker-1-standby'))
    const recovered = await switching.scenario.run('recover')
    expect(recovered.stdout).toContain('is undone')
    await switching.expectUntouched()
  })

  it.each([
    ['a command was to promote', true],
    ['could not be completed', false],
  ])('one whose target is gone for good (%s) says the way back, and goes it', async (why, byCommand) => {
    const { scenario } = switching
    const { coordinator, database } = scenario.cluster
    const [old, target] = ['worker-1', 'worker-1-standby'].map((name) => switching.server(name))
    if (!old || !target) throw new Error('no such server')
    for (const node of [coordinator, old])
      await node.query(
        `INSERT INTO citus_ha.intent (groupid, from_host, from_port, to_host, to_port, phase, by_command, stopped, made_by, run)
         VALUES (1, $1, $2, $3, $4, 'promoting', $5, false, 'a test', 'a run')`,
        [old.host, old.port, target.host, target.port, byCommand],
        { database },
      )
    await old.query('ALTER SYSTEM SET default_transaction_read_only = on')
    await old.reload()
    await target.kill()
    const left = await scenario.run('recover')
    expect(left).toMatchObject({ exitCode: 4, stdout: expect.stringContaining('or, if') })
    expect(left.stdout).toContain(byCommand ? 'its command was to promote' : why)
    const told = [...left.stdout.matchAll(/ALTER SYSTEM RESET \w+|SELECT pg_reload_conf\(\)/g)]
    for (const [sql] of told) await old.query(sql)
    await waitUntil('it is read', async () => {
      const [row] = await old.query<{ on: string }>('SHOW default_transaction_read_only')
      return Object.values(row ?? {})[0] === 'off'
    })
    expect(await scenario.run('reconcile')).toMatchObject({ exitCode: 0 })
    await switching.expectNoIntent()
    expect(await old.query('SELECT FROM citus_ha.intent', [], { database })).toEqual([])
    await old.query('CREATE TABLE goes_on ()', [], { database })
  })

  it('is undone when the pause would be too long', async () => {
    const running = await switching.clients()
    const { exitCode, report } = await switching.switchover('--group', '1', '--total-limit', '1ms')
    expect(exitCode, JSON.stringify(report)).toBe(4)
    expect(report.why).toMatch(/--total-limit|has not replayed|still open|does not end/)
    await switching.expectUntouched()
    await switching.expectAll(running)
  })
})

describe.skipIf(standin)('an old primary whose group has another standby', () => {
  let switching: Switching

  beforeAll(async () => {
    switching = await Switching.start({
      coordinatorStandbys: [],
      workers: [{ standbys: [{}, {}] }, { standbys: [] }],
    })
  }, LONG_MS)
  beforeEach(async () => {
    await switching.scenario.restore()
  })
  afterAll(async () => {
    await switching?.scenario.stop()
  })

  it.each([
    {
      says: 'is promoted by others',
      happens: (one: Server) => one.promote(),
      told: /is promoted instead of/,
    },
    {
      says: 'does not answer',
      happens: (one: Server) => one.kill(),
      told: /it is not known whether .* is promoted: it does not answer/,
    },
  ])(
    'is not started again, if it was stopped, where that one $says',
    async ({ happens, told }) => {
      const [old, other] = [switching.server('worker-1'), switching.server('worker-1-standby-2')]
      const flag = `${switching.scenario.cluster.directory}/undone-${happens.name}-${old.port}`
      const reached = async (point: string) => {
        if (point === 'promoting') await happens(other)
      }
      const commands = [
        ['--demote-first', '--demote-command', switching.stopping('worker-1')],
        ['--promote-command', 'false', '--undo-command', `touch ${flag}`],
        ['--group', '1', '--to', switching.at('worker-1-standby')],
      ].flat()
      const ran = await switching.scenario.runWith({ reached }, 'switchover', '--yes', '--json', ...commands)
      const report = JSON.parse(ran.stdout)
      expect(report.left.join(), ran.stdout + ran.stderr).toMatch(told)
      expect(report.left.join()).toContain(switching.at('worker-1-standby-2'))
      expect(ran.exitCode).toBe(4)
      expect(existsSync(flag)).toBe(false)
      expect(old.isRunning).toBe(false)
    },
    LONG_MS,
  )

  it(
    'stays read-only where that one is promoted by others meanwhile, and that one is followed',
    async () => {
      const { scenario } = switching
      const [old, other] = [switching.server('worker-1'), switching.server('worker-1-standby-2')]
      const reached = async (point: string) => {
        if (point !== 'replay') return
        await other.promote()
        throw new Error('it ends here')
      }
      const to = ['--group', '1', '--to', switching.at('worker-1-standby')]
      const ran = await scenario.runWith({ reached }, 'switchover', '--yes', '--json', ...to)
      const report = JSON.parse(ran.stdout)
      expect(ran.exitCode, ran.stdout + ran.stderr).toBe(4)
      expect(report.left.join()).toMatch(/is promoted instead of .* citus-ha reconcile --promoted/)
      expect(await readOnlyOf(old)).toBe('on')
      // Which of the two it is, only a person can say.
      expect(await scenario.reconcile()).toMatchObject({
        exitCode: 3,
        refusals: [{ group: 1, summary: expect.stringMatching(/\(read-only\) and .* are both primaries/) }],
      })
      const told = await scenario.reconcile('--promoted', switching.at('worker-1-standby-2'))
      expect(told, JSON.stringify(told)).toMatchObject({ exitCode: 0 })
      expect(told.changes).toContainEqual(
        expect.objectContaining({ kind: 'primary-moved', to: switching.at('worker-1-standby-2') }),
      )
      await switching.expectNoIntent()
      expect(await readOnlyOf(old)).toBe('on')
    },
    LONG_MS,
  )
})

async function readOnlyOf(server: Server): Promise<string | undefined> {
  const [row] = await server.query<{ default_transaction_read_only: string }>(
    'SHOW default_transaction_read_only',
  )
  return row?.default_transaction_read_only
}
