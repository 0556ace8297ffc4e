import { appendFile, mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { z } from 'zod'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress } from '../../src/model/node.ts'
import { Machine } from './machine.ts'
import { citusHa, Scenario } from './scenario.ts'

/** What an ailment is inflicted on. */
export interface Patient {
  readonly scenario: Scenario
  readonly machine: Machine
  readonly server: (name: string) => Server
  readonly at: (name: string) => string
  readonly sql: (name: string, text: string) => Promise<unknown>
  /** On each writable copy by itself. */
  readonly everywhere: (text: string) => Promise<void>
}

/** An ailment on real servers, and what becomes of what doctor prints for it when that is run. */
export interface Mending {
  readonly id: string
  readonly name: string
  readonly word: 'mend' | 'look'
  /** Makes it ail. @returns what is filled in; `options`: those of doctor, instead of the coordinators' URLs */
  readonly inflict: (patient: Patient) => Promise<Filled | undefined>
  /** Of the command; 0 where it is not given. */
  readonly exitCode?: number
  /** The server that the command starts: it is tried with the configuration outside the data directory, too. */
  readonly starts?: string
}

/** What is filled in for a server whose configuration is in its data directory. */
export const placesOf = (server: Server) => ({
  DATA_DIRECTORY: server.directory,
  CONFIG_FILE: join(server.directory, 'postgresql.conf'),
})

/** The same, once its configuration is where Debian has it: no start but one that names it succeeds from then on. */
export async function inDebiansLayout(server: Server) {
  const places = { DATA_DIRECTORY: server.directory, CONFIG_FILE: `${server.directory}-etc/postgresql.conf` }
  const etc = dirname(places.CONFIG_FILE)
  await rm(etc, { recursive: true, force: true })
  await mkdir(etc)
  for (const file of ['postgresql.conf', 'pg_hba.conf', 'pg_ident.conf'])
    await rename(join(server.directory, file), join(etc, file))
  const named = {
    data_directory: server.directory,
    hba_file: `${etc}/pg_hba.conf`,
    ident_file: `${etc}/pg_ident.conf`,
  }
  const lines = Object.entries(named).map(([name, value]) => `${name} = '${value}'\n`)
  await appendFile(places.CONFIG_FILE, lines.join(''))
  return places
}

export interface Filled {
  /** Words in CAPITALS of the printed line. */
  readonly fill?: Readonly<Record<string, string>>
  /** Options of doctor besides the coordinators. */
  readonly options?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Which of several findings with this id, by its node. */
  readonly node?: string
}

const findings = z.object({
  findings: z.array(
    z.object({
      id: z.string(),
      node: z.string().nullable(),
      group: z.number().nullable(),
      summary: z.string(),
      mend: z.string().nullable(),
      look: z.string().nullable(),
    }),
  ),
})

/** A cluster that is as it was at first before each test, and a shell beside it. */
export function patientForEach(): () => Patient {
  let patient: Patient
  beforeAll(async () => {
    const scenario = await Scenario.start({
      workers: [{ standbys: [{}] }, { standbys: [{}] }],
      // What is made wrong here is to stay so; and pg_rewind wants the last two.
      settings: { 'citus.metadata_sync_interval': '1h', wal_log_hints: 'on', full_page_writes: 'on' },
    })
    const server = (name: string) => scenario.cluster.server(name)
    const sql = (name: string, text: string) =>
      server(name).query(text, [], { database: scenario.cluster.database })
    const everywhere = async (text: string) => {
      for (const name of ['coordinator', 'worker-1', 'worker-2']) await sql(name, text)
    }
    const at = (name: string) => formatAddress(server(name))
    patient = { scenario, machine: await Machine.of(scenario), server, sql, everywhere, at }
  })
  beforeEach(async () => {
    await patient.scenario.restore()
  })
  afterEach(async () => {
    await patient.machine.stopStrays()
  })
  afterAll(async () => {
    await patient?.scenario.stop()
  })
  return () => patient
}

/** Each case begins with a cluster as it was at first. */
export function tryMendings(cases: readonly Mending[]): void {
  const patientNow = patientForEach()

  const trials = cases.flatMap((each) => [
    { ...each, isDebians: false },
    ...(each.starts === undefined
      ? []
      : [{ ...each, name: `${each.name}, in Debian’s layout`, isDebians: true }]),
  ])

  it.each(trials)(
    '$id, $name: $word',
    { timeout: 180_000 },
    async ({ id, word, inflict, exitCode = 0, starts, isDebians }) => {
      const patient = patientNow()
      const { scenario, machine } = patient
      const filled = (await inflict(patient)) ?? {}
      const { options = scenario.options, env = {}, node } = filled
      const places = starts !== undefined && isDebians ? await inDebiansLayout(patient.server(starts)) : {}
      const fill = { ...filled.fill, ...places }
      const examine = async () => {
        const { stdout, stderr } = await citusHa(['doctor', '--json', ...options], undefined, env)
        expect(stdout, stderr).not.toBe('')
        return findings.parse(JSON.parse(stdout)).findings
      }
      const isIt = (each: { id: string; node: string | null }) =>
        each.id === id && (node === undefined || each.node === node)
      const found = await waitUntil(`${id} is found`, async () => (await examine()).find(isIt))
      expect(found).toMatchObject({
        mend: word === 'mend' ? expect.stringMatching(/\S/) : null,
        look: word === 'look' ? expect.stringMatching(/\S/) : null,
      })
      const line = found[word] ?? ''
      const text = (await citusHa(['doctor', ...options], undefined, env)).stdout
      // By what is filled in, a finding of a moment later may tell of another pid.
      expect(text).toContain(`         ${word}: ${line}\n`)
      const before = word === 'look' ? await scenario.footprint() : null
      const ran = await machine.run(line, fill)
      expect(ran, `${line}\n${ran.stdout}\n${ran.stderr}`).toMatchObject({ exitCode })
      if (word === 'look') {
        if (exitCode === 0) expect(ran.stdout).toMatch(/\S/)
        expect(await scenario.footprint()).toEqual(before)
        return
      }
      const isSame = (each: { id: string; node: string | null; group: number | null }) =>
        each.id === id && each.node === found.node && each.group === found.group
      let after = await examine()
      await waitUntil(`${id} is gone`, async () => {
        after = await examine()
        return !after.some(isSame)
      }).catch((error: unknown) => {
        throw new Error(`${line}\n${ran.stdout}\n${JSON.stringify(after.filter(isSame))}`, { cause: error })
      })
    },
  )
}
