import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { waitUntil } from '../../src/demo/wait.ts'
import { standin } from '../support/clients.ts'
import { type Filled, type Patient, patientForEach, placesOf } from '../support/mends.ts'
import { putInRecovery } from '../support/other-servers.ts'

interface Case {
  /** Of the problem or warning. */
  readonly code: string
  readonly name: string
  readonly inflict: (patient: Patient) => Promise<Filled | undefined>
  /** After its command: `gone`, the problem is; `shown`: nothing has changed. */
  readonly effect: 'gone' | 'shown'
  readonly exitCode?: number
  /** What has to be so as well once it is gone. */
  readonly ended?: (patient: Patient) => Promise<void>
  /** A group for which `reconcile` refuses to write, and says the same. */
  readonly isRefused?: boolean
}

const remarks = z.object({
  remarks: z.array(z.object({ code: z.string(), node: z.string().nullable(), next: z.string().nullable() })),
})
const refusals = z.object({ refusals: z.array(z.object({ reason: z.string(), next: z.string() })) })

const directory = ({ server }: Patient, name: string): Filled => ({
  fill: placesOf(server(name)),
})

const cases: readonly Case[] = [
  {
    code: 'primary-down',
    name: 'a primary is down',
    isRefused: true,
    effect: 'gone',
    inflict: async (patient) => {
      await patient.server('worker-1').kill()
      return directory(patient, 'worker-1')
    },
  },
  {
    code: 'split-brain',
    name: 'two take writes',
    isRefused: true,
    effect: 'gone',
    inflict: async (patient) => {
      await patient.server('worker-1-standby').promote()
      return directory(patient, 'worker-1-standby')
    },
  },
  {
    code: 'primary-in-recovery',
    name: 'a primary was started as a standby',
    isRefused: true,
    effect: 'gone',
    inflict: async ({ server }) => {
      await putInRecovery(server('worker-1'))
      return { fill: { HOST: '127.0.0.1', PORT: `${server('worker-1').port}` } }
    },
  },
  {
    code: 'no-primary-row',
    name: 'a group has no primary’s row',
    isRefused: true,
    effect: 'shown',
    inflict: async ({ everywhere, scenario }) => {
      await everywhere(`UPDATE pg_dist_node SET noderole = 'secondary' WHERE nodeid = 2`)
      await scenario.settle()
      return undefined
    },
  },
  {
    code: 'name-to-follow',
    name: 'a name is to follow the new primary',
    isRefused: true,
    effect: 'shown',
    inflict: async ({ server, at, scenario }) => {
      const addresses = { [at('worker-1')]: { follows: 'primary' } }
      await server('worker-1').kill()
      await server('worker-1-standby').promote()
      return { options: [...scenario.options, '--config', await scenario.configFile({ addresses })] }
    },
  },
  {
    code: 'promoted',
    name: 'a promotion that the metadata does not know',
    effect: 'gone',
    inflict: async ({ server }) => {
      await server('worker-1').kill()
      await server('worker-1-standby').promote()
      return undefined
    },
  },
  {
    code: 'metadata-differs',
    name: 'a copy differs',
    effect: 'gone',
    inflict: async ({ sql }) => {
      await sql('worker-2', `UPDATE pg_dist_node SET noderack = 'elsewhere' WHERE nodeid = 3`)
      return undefined
    },
  },
  {
    code: 'secondary-read-only',
    name: 'an old primary that is read-only, and not retired',
    effect: 'gone',
    inflict: async ({ scenario, sql }) => {
      await scenario.install('--switchover')
      await scenario.run('switchover', '--group', '1', '--yes')
      await sql(
        'worker-1',
        `BEGIN READ WRITE; SET LOCAL citus.enable_ddl_propagation = off;
         UPDATE pg_dist_local_group SET groupid = 1; DELETE FROM citus_ha.retired; COMMIT`,
      )
      return undefined
    },
  },
  {
    code: 'secondary-down',
    name: 'a secondary is down',
    effect: 'gone',
    inflict: async (patient) => {
      await patient.server('worker-1-standby').kill()
      return directory(patient, 'worker-1-standby')
    },
  },
  {
    code: 'secondary-down',
    name: 'an old primary that crashed is never started as one',
    effect: 'gone',
    inflict: async (patient) => {
      const { scenario, server } = patient
      await server('worker-1').kill()
      await server('worker-1-standby').promote()
      expect(await scenario.reconcile()).toMatchObject({ exitCode: 0 })
      return directory(patient, 'worker-1')
    },
    ended: async ({ sql }) => {
      expect(await sql('worker-1', 'SELECT pg_is_in_recovery()')).toMatchObject([{ pg_is_in_recovery: true }])
    },
  },
  {
    code: 'secondary-silent',
    name: 'a secondary is silent towards us alone',
    effect: 'shown',
    inflict: async ({ scenario, at }) => {
      const addresses = { [at('worker-1-standby')]: { connect: '127.0.0.1:1' } }
      return { options: [...scenario.options, '--config', await scenario.configFile({ addresses })] }
    },
  },
  {
    code: 'secondary-not-streaming',
    name: 'a secondary does not stream',
    effect: 'shown',
    inflict: async ({ server }) => {
      await server('worker-1-standby').configure({ primary_conninfo: 'host=127.0.0.1 port=1' })
      return undefined
    },
  },
  {
    code: 'read-only',
    name: 'a primary is read-only by default',
    effect: 'shown',
    exitCode: 3,
    inflict: async ({ server }) => {
      await server('worker-1').configure({ default_transaction_read_only: 'on' })
      return undefined
    },
  },
  {
    code: 'stale-entry',
    name: 'a coordinator’s standby follows nobody',
    effect: 'shown',
    inflict: async ({ server }) => {
      await server('coordinator-standby').configure({ primary_conninfo: 'host=127.0.0.1 port=1' })
      return undefined
    },
  },
]

describe.skipIf(standin)('the next command of status, run as it is printed', () => {
  const patientNow = patientForEach()

  it.each(cases)('$name ($code): $effect', { timeout: 180_000 }, async (each) => {
    const { code, inflict, effect, exitCode = 0, isRefused, ended } = each
    const patient = patientNow()
    const { scenario, machine } = patient
    const { fill = {}, options } = (await inflict(patient)) ?? {}
    const given = options?.slice(scenario.options.length) ?? []
    const look = async () => {
      const { stdout, stderr } = await scenario.run('status', '--json', ...given)
      expect(stdout, stderr).not.toBe('')
      return remarks.parse(JSON.parse(stdout)).remarks
    }
    const found = await waitUntil(code, async () => (await look()).find((other) => other.code === code))
    expect((await scenario.run('status', ...given)).stdout).toContain(`  next: ${found.next}\n`)
    const refused = await scenario.run('reconcile', '--dry-run', '--json', ...given)
    const said = refusals.parse(JSON.parse(refused.stdout)).refusals.filter(({ reason }) => reason === code)
    expect(said.map(({ next }) => next)).toEqual(isRefused ? [found.next] : [])

    const before = await scenario.footprint()
    const ran = await machine.run(found.next ?? '', fill)
    expect(ran, `${found.next}\n${ran.stdout}\n${ran.stderr}`).toMatchObject({ exitCode })
    if (effect === 'shown') {
      expect(ran.stdout).toMatch(/\S/)
      expect(await scenario.footprint()).toEqual(before)
      return
    }
    await waitUntil(`${code} is gone`, async () => {
      return !(await look()).some((other) => other.code === code && other.node === found.node)
    })
    await ended?.(patient)
  })
})
