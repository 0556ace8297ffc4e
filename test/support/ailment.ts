import type { Catalog } from '../../src/model/catalog.ts'
import type { PreparedTransaction, ReplicationSlot } from '../../src/model/inspection.ts'
import type { Answered } from '../../src/model/observation.ts'
import { address, installed, TWO_WORKERS, writable } from './builders.ts'
import { type Case, KNOWN_LINES, look, session } from './examined.ts'

/** One check: a cluster in which it finds one thing, and one that is nearly so in which it finds nothing. */
export interface Ailment {
  readonly id: string
  readonly name: string
  readonly finds: Case
  /** What it is mended by; else `look`. */
  readonly mend?: RegExp
  readonly look?: RegExp
  readonly misses: string
  readonly near: Case
}

export const cn = (parts: Parameters<typeof writable>[2] = {}): Answered =>
  writable('cn1', 0, { installed: installed({ lineage: KNOWN_LINES }), ...parts })
export const withRows = (...rows: Catalog): Case => ({
  nodes: [
    cn({
      catalog: [...TWO_WORKERS.filter((row) => !rows.some((each) => each.nodeid === row.nodeid)), ...rows],
    }),
  ],
})
export const copyOfGroup0 = (interval: string): Case => ({
  nodes: [
    writable('cnx', 0, { systemIdentifier: '9', citus: { useSecondaryNodes: 'always', clusterName: 'x' } }),
  ],
  seen: { cnx: { session: session({ 'citus.recover_2pc_interval': interval }) } },
})
export const prepared = (gid: string, ageMs: number, ...locks: string[]): Case => {
  const transaction: PreparedTransaction = { gid, owner: 'citus_ha', mayBeOurs: true, ageMs, locks }
  return { seen: { w1a: { prepared: look({ inUse: 1, transactions: [transaction] }) } } }
}
export const setting = (at: string, name: string, value: string): Case => ({
  seen: { [at]: { session: session({ [name]: value }) } },
})
export const pool = (host: string | null, port: number | null, nodeid = 2): Case => ({
  seen: { cn1: { pools: look([{ nodeid, host, port }]) } },
})
export const reaches = (at: string, ...misses: string[]): Case => ({
  seen: {
    [at]: {
      reaches: ['cn1', 'w1a', 'w1b', 'w2a', 'w2b'].map((name) => ({
        to: address(name),
        reaches: look(!misses.includes(name)),
        says: misses.includes(name) ? `could not translate host name ${name}` : null,
      })),
    },
  },
})
export const attached = (...names: string[]): Case => ({
  seen: { w1a: { attached: look(names.map((applicationName) => ({ applicationName, clientHost: null }))) } },
})
export const senders = (...states: string[]) =>
  states.map((syncState) => ({
    applicationName: 'b',
    clientHost: null,
    state: 'streaming',
    syncState,
  }))
export const citus = (version: string) => ({ citus: { version } })
export const OURS = 'citus_ha_c1_app_1_7_deadbeef_1'
export const slot = (parts: Partial<ReplicationSlot>): ReplicationSlot => ({
  name: 'feed',
  type: 'logical',
  database: 'app',
  active: false,
  temporary: false,
  failover: false,
  synced: false,
  unread: 4096,
  consumer: null,
  ...parts,
})
