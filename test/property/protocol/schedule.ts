import fc from 'fast-check'
import { HAPPENS, type Happening } from './restores.ts'

export const FAULTS = [
  'request lost',
  'answer lost',
  'request late',
  'answer late',
  'break before',
  'break after',
  'kill',
  'kill in flight',
  'stop',
  'freeze',
  'crash peer',
  'crash',
  'promote',
  'promote beside',
  'cut from us',
  'cut from us, none asked',
  'cut from peers',
  'walk',
  'a backup',
  'a backup, known to the archive',
  'a disk snapshot',
  'twins',
  'one comes back',
] as const

/** Something that happens when the `at`-th message of its sort is sent, by whichever instance. */
export interface Fault {
  readonly on: 'statement' | 'probe'
  readonly at: number
  /** Counted from when a switchover first reaches this point of its hooks; default: from the beginning. */
  readonly since?: string
  readonly what: (typeof FAULTS)[number]
  /** Which server or standby, counted round. */
  readonly whom: number
  /** How long it lasts or takes. */
  readonly ms: number
}

const fault: fc.Arbitrary<Fault> = fc.record({
  on: fc.constantFrom('statement', 'statement', 'statement', 'probe'),
  at: fc.nat(36),
  what: fc.constantFrom(...FAULTS),
  whom: fc.nat(11),
  ms: fc.constantFrom(30, 250, 700, 2500, 6000, 15_000),
})

/** Something that has happened before the first walk. */
const event = fc.record({
  what: fc.constantFrom(
    ...(['promotion', 'promotion', 'promotion', 'stale promotion'] as const),
    ...(Object.keys(HAPPENS) as Happening[]),
  ),
  group: fc.nat(3),
  /** Counted round; of a promotion among those in recovery. */
  standby: fc.nat(1),
  old: fc.constantFrom('dead', 'dead', 'dead', 'alive', 'follows'),
})

export const schedule = fc.record({
  /** Of delays; nothing else is left to it. */
  seed: fc.nat(0xffff),
  /** Standbys of each group, the coordinator's first. */
  standbys: fc.tuple(
    fc.constantFrom(0, 1, 1, 2),
    fc.array(fc.constantFrom(1, 2), { minLength: 1, maxLength: 3 }),
  ),
  synchronous: fc.constantFrom(false, false, true),
  slowReplay: fc.boolean(),
  recorded: fc.constantFrom(true, true, true, false),
  /** What instances have done, and written down, before all that. */
  before: fc.constantFrom(
    'nothing',
    'nothing',
    'a look',
    'a failover of the coordinator',
    'a failover of a worker',
  ),
  events: fc.array(event, { minLength: 1, maxLength: 3 }),
  rival: fc.option(fc.constantFrom(0, 60, 140, 300), { freq: 2 }),
  vouched: fc.option(fc.nat(2), { freq: 3 }),
  faults: fc.array(fault, { minLength: 1, maxLength: 6, size: 'max' }),
})

export type Schedule = typeof schedule extends fc.Arbitrary<infer T> ? T : never
