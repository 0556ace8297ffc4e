import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import type { Answered } from '../../src/model/observation.ts'
import { inspect } from '../../src/observe/inspect.ts'
import { Connections } from '../../src/walk/connections.ts'
import { installed } from '../support/builders.ts'
import { Pair } from '../support/pair.ts'
import { POSTGRES_VERSIONS, postgresOf } from '../support/postgres-versions.ts'

const DATABASE = 'postgres'
const DOWNLOAD_LIMIT_MS = 180_000

describe.each(POSTGRES_VERSIONS)('a closer look at PostgreSQL %s', (version) => {
  let pair: Pair
  let access: Connections
  let missing: string | null = null

  beforeAll(async () => {
    const binaries = await postgresOf(version)
    if (typeof binaries === 'string') {
      missing = `PostgreSQL ${version} is skipped: ${binaries}`
      return
    }
    pair = await Pair.start(binaries)
    const coordinators = [pair.primary, pair.standby].map((server) => server.url(DATABASE, 'citus_ha'))
    access = new Connections(await loadConfig({ coordinators, env: {} }), {})
  }, DOWNLOAD_LIMIT_MS)
  beforeEach(async (context) => {
    if (missing !== null) context.skip(missing)
    await pair.ready()
  })
  afterAll(async () => {
    await access?.close()
    await pair?.stop()
  })

  const look = async ({ host, port }: Pair['primary']) => {
    const address = { host, port }
    const node = (await access.prober(DATABASE).probe(address)) as Answered
    // As if the schema were there: the statement has to run.
    return await inspect(
      { ...node, installed: installed() },
      {
        open: (at) => access.open(at, DATABASE),
        targets: [],
        functions: ['nosuch(int)'],
        signal: new AbortController().signal,
      },
    )
  }

  it('reads everything, on a primary and on a standby, as a role that may only read statistics', async () => {
    const settings = expect.objectContaining({ max_prepared_transactions: expect.anything() })
    const both = {
      session: { kind: 'seen', value: { role: 'citus_ha', extension: null, hasPools: false, settings } },
      clock: { kind: 'seen' },
      prepared: { kind: 'seen', value: { inUse: 0, transactions: [] } },
      daemons: { kind: 'seen', value: [] },
      missingRights: { kind: 'seen', value: ['nosuch(int)'] },
      pools: { kind: 'seen', value: [] },
      reaches: [],
    }
    const attached = [{ applicationName: 'the standby', clientHost: '127.0.0.1' }]
    expect(await look(pair.primary)).toMatchObject({ ...both, attached: { kind: 'seen', value: attached } })
    expect(await look(pair.standby)).toMatchObject({ ...both, attached: { kind: 'seen', value: [] } })
  })
})
