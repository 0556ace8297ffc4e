import type { Observation } from '../../src/model/observation.ts'
import {
  installed,
  left,
  lineage,
  position,
  secondaryRow,
  silent,
  standby,
  TWO_WORKERS,
  testimony,
  writable,
} from './builders.ts'

/** Group 0, and who of several coordinators is believed to be the one. */
export interface CoordinatorCase {
  readonly name: string
  readonly nodes: readonly Observation[]
  /** The host whose rows count. */
  readonly leads: string
  readonly rule: string
}

const own = (...first: Parameters<typeof lineage>) => [lineage(...first), lineage(1), lineage(2)]
const FIRST = installed({ lineage: own(0) })
const PROMOTED = { timeline: 2, history: [left(1, '0/50')] } as const
const RESTORED = { timeline: 3, history: [left(1, '0/45')] } as const
/** What a change under the promoted one left on a worker. */
const SECOND = [lineage(0, 2, left(1, '0/50'))]
const recorded = (
  parts: Parameters<typeof installed>[0] = { lineage: SECOND, epoch: { timeline: 2, epoch: 4 } },
) => ['w1a', 'w2a'].map((name, n) => writable(name, n + 1, { installed: installed(parts) }))
const old = writable('cn1', 0, { installed: FIRST, lsn: 0x70n })
const promoted = writable('cn2', 0, { ...PROMOTED, installed: FIRST })
const LED = { lineage: [...SECOND, lineage(1), lineage(2)] }
const decided = writable('cn2', 0, {
  ...PROMOTED,
  installed: installed({ ...LED, epoch: { timeline: 2, epoch: 4 } }),
})
/** A backup from after the promotion, at the old one's address, which has seen these changes. */
const later = (epoch: number) =>
  backup({
    history: [left(1, '0/50'), left(2, '0/55')],
    installed: installed({ ...LED, epoch: { timeline: 2, epoch } }),
  })
/** A backup from before the promotion, at the old one's address. */
const backup = (parts = {}) => writable('cn1', 0, { ...RESTORED, installed: FIRST, ...parts })
const at = (lsn: bigint, host = 'cn1', inRecovery = false) => ({
  ...position(host, lsn, { inRecovery }),
  group: 0,
})

const UNDER = (timeline: number, line: ReturnType<typeof own>) =>
  installed({ lineage: line, epoch: { timeline, epoch: 1 } })
/** A backup that was written down, since nobody spoke against it. */
const UNHEARD = UNDER(1, own(0, 3, left(1, '0/45')))
const unheard = (epoch = { timeline: 1, epoch: 1 }) => backup({ installed: { ...UNHEARD, epoch } })
const AGAIN = [left(1, '0/45'), left(3, '0/60')]
/** Workers that know that the coordinator was further on when it was left. */
const missed = (...names: readonly string[]) =>
  names.map((name) =>
    writable(name, name === 'w1a' ? 1 : 2, {
      installed: installed({ lineage: [lineage(0)], positions: [at(0x48n)] }),
    }),
  )

// The registered coordinator is cn1, of which cn2 is a standby. A near miss stands below what it misses.
export const COORDINATORS: readonly CoordinatorCase[] = [
  { name: 'one', nodes: [old], leads: 'cn1', rule: 'D050' },
  {
    name: 'its standby was promoted, and it was not stopped',
    nodes: [old, promoted],
    leads: 'cn2',
    rule: 'D039',
  },
  {
    name: 'the promoted one had replayed more once: a backup of it',
    nodes: [old, promoted, ...recorded({ lineage: [lineage(0)], positions: [at(0x60n, 'cn2', true)] })],
    leads: 'cn1',
    rule: 'D050',
  },
  {
    name: 'the living one was further on than the promoted one: a backup, at whichever address',
    nodes: [old, promoted, ...recorded({ lineage: [lineage(0)], positions: [at(0x51n)] })],
    leads: 'cn1',
    rule: 'D050',
  },
  {
    name: 'it was not',
    nodes: [old, promoted, ...recorded({ lineage: [lineage(0)], positions: [at(0x50n)] })],
    leads: 'cn2',
    rule: 'D039',
  },
  {
    name: 'a standby of the living one has more than the promoted one',
    nodes: [old, promoted, standby('cn3', 0, 'cn1', { lsn: 0x60n })],
    leads: 'cn1',
    rule: 'D050',
  },
  {
    name: 'a backup on a higher timeline, where workers took part in changes of the one on the lower',
    nodes: [backup(), decided, ...recorded()],
    leads: 'cn2',
    rule: 'D039',
  },
  {
    name: 'the same, known by the number alone',
    nodes: [backup(), decided, ...recorded({ epoch: { timeline: 2, epoch: 4 } })],
    leads: 'cn2',
    rule: 'D039',
  },
  {
    name: 'the same, known by a standby coordinator alone',
    nodes: [backup(), { ...promoted, lsn: 0x70n }, standby('cn3', 0, 'cn2', { ...PROMOTED, lsn: 0x70n })],
    leads: 'cn2',
    rule: 'D039',
  },
  {
    name: 'the same, by what the other coordinator has on record',
    nodes: [backup(), decided],
    leads: 'cn2',
    rule: 'D039',
  },
  {
    name: 'a backup and a promoted one, and nobody knows more than the line that both left',
    nodes: [backup(), promoted, ...recorded({ lineage: [lineage(0)] })],
    leads: 'cn1',
    rule: 'D041',
  },
  {
    name: 'the same, and it is on record that the backup left it too early',
    nodes: [backup(), promoted, ...recorded({ lineage: [lineage(0)], positions: [at(0x48n)] })],
    leads: 'cn2',
    rule: 'D039',
  },
  {
    name: 'a backup from after the promotion, which has missed a change that workers took part in',
    nodes: [later(3), decided, ...recorded()],
    leads: 'cn2',
    rule: 'D039',
  },
  { name: 'it has missed none', nodes: [later(4), decided, ...recorded()], leads: 'cn1', rule: 'D050' },
  {
    name: 'twins of one number, one of which is on record',
    nodes: [backup({ timeline: 2 }), decided, ...recorded()],
    leads: 'cn2',
    rule: 'D039',
  },
  {
    name: 'twins of one number, of which nothing is known',
    nodes: [backup({ timeline: 2 }), promoted],
    leads: 'cn1',
    rule: 'D041',
  },
  {
    name: 'the backup alone answers',
    nodes: [backup(), silent('cn2'), ...recorded()],
    leads: 'cn1',
    rule: 'D042',
  },
  {
    name: 'the same, and only the number is known',
    nodes: [backup(), ...recorded({ epoch: { timeline: 2, epoch: 4 } })],
    leads: 'cn1',
    rule: 'D042',
  },
  {
    name: 'a backup of it alone, on a timeline that nobody had',
    nodes: [backup(), ...recorded({ lineage: [lineage(0)], positions: [at(0x48n)] })],
    leads: 'cn1',
    rule: 'D043',
  },
  {
    name: 'the same, written down while no worker could be asked',
    nodes: [unheard(), ...missed('w1a', 'w2a')],
    leads: 'cn1',
    rule: 'D043',
  },
  {
    name: 'the same, written down on a worker as well, and on a standby of it, while the other worker could not be asked',
    nodes: [
      unheard(),
      standby('cn3', 0, 'cn1', { ...RESTORED, installed: UNHEARD }),
      writable('w1a', 1, { installed: UNHEARD }),
      ...missed('w2a'),
    ],
    leads: 'cn1',
    rule: 'D043',
  },
  {
    name: 'the same, and a change was made under it meanwhile: that was a decision',
    nodes: [unheard({ timeline: 3, epoch: 1 }), ...missed('w1a', 'w2a')],
    leads: 'cn1',
    rule: 'D050',
  },
  {
    name: 'the same, and it was promoted once more since',
    nodes: [
      backup({ timeline: 4, history: AGAIN, installed: UNDER(3, own(0, 4, ...AGAIN)) }),
      ...missed('w1a', 'w2a'),
    ],
    leads: 'cn1',
    rule: 'D050',
  },
  {
    name: 'the same from before anything was on record there: workers know how far it was',
    nodes: [
      backup({ installed: installed() }),
      ...recorded({ lineage: [lineage(0)], positions: [at(0x48n)] }),
    ],
    leads: 'cn1',
    rule: 'D043',
  },
  {
    name: 'the old one is back on the timeline that was left: alone',
    nodes: [old, ...recorded()],
    leads: 'cn1',
    rule: 'D042',
  },
  {
    name: 'its standby was promoted, and it is dead',
    nodes: [silent('cn1'), promoted, ...recorded({ lineage: [lineage(0)], positions: [at(0x55n)] })],
    leads: 'cn2',
    rule: 'D063',
  },
  {
    name: 'a backup at its standby’s address, and it is dead',
    nodes: [
      silent('cn1'),
      promoted,
      ...recorded({ lineage: [lineage(0)], positions: [at(0x55n, 'cn2', true)] }),
    ],
    leads: 'cn2',
    rule: 'D064',
  },
]

/** The rest of the cluster. */
export const AROUND = {
  catalog: [...TWO_WORKERS, secondaryRow(9, 0, { at: 'cn2' })],
  heard: [testimony('w1a', 'cn1', 'down'), testimony('w2a', 'cn1', 'down')],
  nodes: [writable('w1a', 1), writable('w2a', 2)] as readonly Observation[],
}
