import fc from 'fast-check'
import { HAPPENS, type Meanwhile } from './meanwhile.ts'
import { HAPPENS as RESTORES } from './restores.ts'
import { FAULTS, type Fault } from './schedule.ts'

/** Where a switchover is told of, by the points of its hooks, in their order. */
export const POINTS = [
  'connect',
  'look',
  'intend',
  'fence',
  'recheck',
  'quiesce',
  'clear',
  'replay',
  'promoting',
  'promoted',
  'opened',
  'locked',
  'prepared:1',
  'all-prepared',
  'decided',
  'committed:1',
  'change',
  'drain',
] as const

/** An outsider who lets two servers of a group take writes, or restores a backup, loses what he loses. */
const SINGLE = FAULTS.filter((what) => what !== 'promote beside' && !(what in RESTORES))

const fault: fc.Arbitrary<Fault> = fc.record({
  on: fc.constantFrom('statement', 'statement', 'statement', 'statement', 'probe'),
  at: fc.nat(180),
  what: fc.constantFrom(...SINGLE),
  whom: fc.nat(11),
  ms: fc.constantFrom(30, 250, 700, 2500, 6000),
})

const death = fc.record({
  at: fc.constantFrom(...POINTS),
  how: fc.constantFrom('killed', 'killed', 'frozen'),
})

const meanwhile = fc.record({
  at: fc.constantFrom(...POINTS),
  what: fc.constantFrom(...(Object.keys(HAPPENS) as Meanwhile[])),
})

const order = fc.record({
  /** When it is given, in milliseconds. */
  at: fc.constantFrom(0, 0, 20, 90, 200, 400, 900),
  /** Counted round. */
  groups: fc.array(fc.nat(3), { minLength: 1, maxLength: 2 }),
  /** Which of the group's other members, counted round; null: whichever is closest. */
  to: fc.option(fc.nat(1), { freq: 2 }),
  dies: fc.option(death, { freq: 2 }),
  meanwhile: fc.option(meanwhile, { freq: 2 }),
})

const stops = fc.constantFrom('no', 'no', 'no', 'for good', 'and is started again')

const promotes = fc.constantFrom(null, null, 'promote', 'hand over')

export const switchoverSchedule = fc.record({
  /** Of delays and of what clients do; nothing else is left to it. */
  seed: fc.nat(0xffff),
  /** Standbys of each group, the coordinator's first. */
  standbys: fc.tuple(fc.constantFrom(0, 1), fc.array(fc.constantFrom(1, 2), { minLength: 1, maxLength: 3 })),
  slowReplay: fc.boolean(),
  clients: fc.constantFrom(1, 2, 4),
  orders: fc.array(order, { minLength: 1, maxLength: 2 }),
  /** When others reconcile, in milliseconds. */
  reconciles: fc.array(fc.constantFrom(100, 300, 600, 1500), { maxLength: 1 }),
  faults: fc.array(fault, { maxLength: 3 }),
  /** Commits at every primary wait for its first standby. */
  synchronous: fc.constantFrom(false, false, false, true),
  /** Of each order, whether the old primary is stopped before the promotion, and started again where that comes to nothing. */
  stops: fc.tuple(stops, stops),
  /** Of each order, the command that promotes; null: citus-ha does. */
  promotes: fc.tuple(promotes, promotes),
})

export type SwitchoverSchedule = typeof switchoverSchedule extends fc.Arbitrary<infer T> ? T : never
