import { describe, expect, it } from 'vitest'
import type { Diagnosis, DiagnosisCode } from '../../src/model/diagnosis.ts'
import type { Pause } from '../../src/model/pause.ts'
import type { Plan } from '../../src/model/plan.ts'
import {
  afterFailure,
  afterSuccess,
  type Belief,
  believe,
  believedDown,
  isUnsettled,
  withFreshHope,
} from '../../src/watch/belief.ts'
import type { Held } from '../../src/watch/event.ts'
import { IdleLeader } from '../../src/watch/idle-leader.ts'
import { type Circumstances, type Intent, intentOf } from '../../src/watch/intent.ts'
import { OPTIONS, silent } from '../support/builders.ts'
import { FAILED_OVER, planned } from '../support/planned.ts'

function diagnosis(group: number, code: DiagnosisCode): Diagnosis {
  const given = {
    rule: 'D000',
    standing: 'sound',
    summary: '',
    evidence: [],
    warnings: [],
    remarks: [],
  } as const
  return { group, code, ...given, byPerson: false, primary: null, secondaries: [] }
}

const CONFIRM = { surveys: 3, apartMs: 1000 }

/** A survey a second. */
function afterSurveys(...codes: readonly DiagnosisCode[]): Belief[] {
  return codes.reduce<Belief[]>(
    (beliefs, code, n) => believe(beliefs, [diagnosis(1, code)], CONFIRM, 1000 * n),
    [],
  )
}

const believed = (beliefs: readonly Belief[]) => beliefs.map((belief) => belief.diagnosis?.code ?? null)

describe('what a watcher believes', () => {
  it.each<[string, readonly DiagnosisCode[], DiagnosisCode | null]>([
    ['believes health at once', ['healthy'], 'healthy'],
    ['does not believe one survey that shows a primary down', ['healthy', 'primary-down'], 'healthy'],
    ['nor two', ['healthy', 'primary-down', 'primary-down'], 'healthy'],
    ['believes three', ['healthy', 'primary-down', 'primary-down', 'primary-down'], 'primary-down'],
    ['counts any absence', ['healthy', 'primary-down', 'primary-unknown', 'primary-down'], 'primary-down'],
    [
      'begins anew after an answer',
      ['healthy', 'primary-down', 'primary-down', 'healthy', 'primary-down'],
      'healthy',
    ],
    [
      'takes a primary that answers for none that is down',
      ['healthy', 'read-only', 'read-only', 'primary-down'],
      'healthy',
    ],
    [
      'believes no absence of a primary that has answered',
      ['primary-down', 'primary-down', 'primary-down', 'healthy', 'primary-down', 'primary-down'],
      'healthy',
    ],
    [
      'keeps what it believes where witnesses see now so, now so',
      ['primary-down', 'primary-down', 'primary-down', 'primary-unknown', 'primary-down'],
      'primary-down',
    ],
    ['believes a promotion at once', ['healthy', 'primary-down', 'promoted'], 'promoted'],
    ['believes two writable members at once', ['healthy', 'split-brain'], 'split-brain'],
    ['believes nothing of a group that was never seen well', ['primary-down'], null],
  ])('%s', (_, codes, expected) => {
    expect(believed(afterSurveys(...codes))).toEqual([expected])
  })

  it('wants another survey while it doubts, and not afterwards', () => {
    expect(isUnsettled(afterSurveys('healthy', 'primary-down'))).toBe(true)
    expect(isUnsettled(afterSurveys('healthy', 'primary-down', 'primary-down', 'primary-down'))).toBe(false)
    expect(isUnsettled(afterSurveys('healthy', 'primary-down', 'healthy'))).toBe(false)
  })

  it('takes many surveys within a moment for one', () => {
    let beliefs = believe([], [diagnosis(1, 'healthy')], CONFIRM, 0)
    for (let n = 1; n < 50; n++) beliefs = believe(beliefs, [diagnosis(1, 'primary-down')], CONFIRM, n)
    expect(believed(beliefs)).toEqual(['healthy'])
  })

  it('forgets groups that are gone', () => {
    const before = believe([], [diagnosis(1, 'healthy'), diagnosis(2, 'healthy')], CONFIRM, 0)
    expect(believe(before, [diagnosis(2, 'healthy')], CONFIRM, 0).map(({ group }) => group)).toEqual([2])
  })

  it('pauses twice as long after each failure, up to half a minute, and begins anew after a success', () => {
    let beliefs = afterSurveys('promoted')
    const pauses: number[] = []
    for (let n = 0; n < 9; n++) {
      beliefs = afterFailure(beliefs, [1], 1000)
      pauses.push((beliefs[0]?.restUntil ?? 0) - 1000)
    }
    expect(pauses).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
    expect(beliefs[0]).toMatchObject({ failures: 9, failingSince: 1000 })
    expect(afterSuccess(beliefs, [], [1], 0)[0]).toMatchObject({ failures: 0, failingSince: null })
  })

  it('gives up the pause after a failure, but no cooldown, when a promotion is noticed', () => {
    const failed = withFreshHope(afterFailure(afterSurveys('promoted'), [1], 1000))
    expect(failed[0]?.restUntil).toBe(0)
    const cooling = withFreshHope(afterSuccess(afterSurveys('promoted'), [1], [1], 5000))
    expect(cooling[0]?.restUntil).toBe(5000)
  })
})

/** Group 1 with these secondaries down. */
function down(...nodeids: number[]): Diagnosis {
  const secondaries = nodeids.map((nodeid) => {
    return { nodeid, address: { host: `w${nodeid}`, port: 5432 }, state: 'down' as const, detail: 'down' }
  })
  return { ...diagnosis(1, nodeids.length > 0 ? 'secondary-down' : 'healthy'), secondaries }
}

describe('a secondary that is down', () => {
  const surveys = (...seen: readonly Diagnosis[]) =>
    seen.reduce<Belief[]>((beliefs, each, n) => believe(beliefs, [each], CONFIRM, 1000 * n), [])

  const promoted = (...nodeids: number[]): Diagnosis => ({ ...down(...nodeids), code: 'promoted' })
  const dead = diagnosis(1, 'primary-down')
  // A remedy's node that answers, and does not stream yet: nothing is absent.
  const notBack = { ...down(), code: 'secondary-down' as const }

  it.each<{
    what: string
    seen: readonly Diagnosis[]
    is: readonly number[]
    doubted?: readonly unknown[]
    code: DiagnosisCode | null
  }>([
    {
      what: 'is believed after three surveys',
      seen: [down(), down(3), down(3), down(3)],
      is: [3],
      code: 'secondary-down',
    },
    { what: 'is not before', seen: [down(), down(3), down(3)], is: [], doubted: [3], code: 'healthy' },
    {
      what: 'makes no second one believed',
      seen: [down(3), down(3), down(3), down(3, 4)],
      is: [3],
      doubted: [4],
      code: 'secondary-down',
    },
    { what: 'counts by itself', seen: [down(3), down(4), down(3)], is: [], doubted: [3], code: null },
    {
      what: 'is not kept by one that flaps',
      seen: [down(3), down(3, 4), down(3)],
      is: [3],
      code: 'secondary-down',
    },
    {
      what: 'nor believed for one',
      seen: [down(3), down(3), down(3, 4), down(3), down(3, 4)],
      is: [3],
      doubted: [4],
      code: 'secondary-down',
    },
    {
      what: 'is forgotten with an answer',
      seen: [down(3), down(3), down(3), down()],
      is: [],
      code: 'healthy',
    },
    {
      what: 'counts beside a promotion',
      seen: [down(3), promoted(3), promoted(3)],
      is: [3],
      code: 'promoted',
    },
    {
      what: 'is not believed at once with a promotion',
      seen: [down(), promoted(3)],
      is: [],
      doubted: [3],
      code: 'promoted',
    },
    {
      what: 'counts beside a primary that is down',
      seen: [down(3), down(3), dead],
      is: [],
      doubted: ['primary-down'],
      code: null,
    },
    {
      what: 'that answers, and is not back yet, is told at once',
      seen: [notBack],
      is: [],
      code: 'secondary-down',
    },
    {
      what: 'that is doubted shows that the primary answers',
      seen: [dead, dead, dead, down(3)],
      is: [],
      doubted: [3],
      code: 'secondary-down',
    },
    {
      what: 'leaves a second absence of the primary as doubtful as the first',
      seen: [dead, dead, dead, down(3), down(4), dead],
      is: [],
      doubted: ['primary-down'],
      code: 'secondary-down',
    },
  ])('$what', ({ seen, is, doubted = [], code }) => {
    const beliefs = surveys(...seen)
    expect(believedDown(beliefs)).toEqual(is)
    expect(beliefs[0]?.doubts.map(({ of }) => of)).toEqual(doubted)
    expect(beliefs[0]?.diagnosis?.code ?? null).toBe(code)
  })
})

describe('what a watcher does next', () => {
  const plan = planned({ nodes: FAILED_OVER })
  const beliefs = believe(
    [],
    [0, 1, 2].map((group) => diagnosis(group, 'healthy')),
    CONFIRM,
    0,
  )
  const leading: Circumstances = {
    leadership: 'leading',
    pauses: [],
    now: 1000,
    leftovers: false,
    fenced: [],
    housekeepingRestUntil: 0,
  }
  const pause = (group: number | null): Pause => ({
    group,
    since: '2026-01-01T00:00:00Z',
    by: 'anna',
    why: null,
  })
  const idle: Plan = { ...plan, changes: [], copies: [], unsynced: [], proofs: [] }

  it('changes the group that moved', () => {
    expect(intentOf(plan, beliefs, leading)).toMatchObject({ kind: 'change', groups: [1], held: [] })
  })

  it.each<[string, Partial<Circumstances>, readonly Belief[], string]>([
    ['follows', { leadership: 'following' }, beliefs, 'following'],
    ['is paused for the cluster', { pauses: [pause(null)] }, beliefs, 'paused'],
    ['is paused for the group', { pauses: [pause(1)] }, beliefs, 'paused'],
    ['is not sure', {}, believe(beliefs, [diagnosis(1, 'primary-down')], CONFIRM, 1000), 'unconfirmed'],
    ['cools down', {}, afterSuccess(beliefs, [1], [1], 5000), 'cooldown'],
  ])('says what it would do while it %s', (_, given, held, why) => {
    const intent = intentOf(plan, held, { ...leading, ...given })
    expect(intent.groups).toEqual([])
    expect(intent.held).toEqual([
      { group: 1, why, would: expect.arrayContaining([expect.stringContaining('primary-moved')]) },
    ])
  })

  it.each([
    { what: 'of itself', doubted: plan.changes.map(({ nodeid }) => nodeid), done: [] },
    { what: 'of others', doubted: [999], done: [1] },
  ])(
    'a secondary that is not believed to be down yet keeps it from what comes $what',
    ({ doubted, done }) => {
      expect(intentOf(plan, believe(beliefs, [down(...doubted)], CONFIRM, 1000), leading).groups).toEqual(
        done,
      )
    },
  )

  it('follows a proved promotion at once, however short a while ago the group was changed', () => {
    const proved = beliefs.map((belief) =>
      belief.group === 1
        ? { ...belief, diagnosis: { ...diagnosis(1, 'promoted'), standing: 'proved' as const } }
        : belief,
    )
    expect(intentOf(plan, afterSuccess(proved, [1], [1], 5000), leading)).toMatchObject({
      kind: 'change',
      groups: [1],
      held: [],
    })
  })

  it('does not mind a pause of another group', () => {
    expect(intentOf(plan, beliefs, { ...leading, pauses: [pause(2)] }).groups).toEqual([1])
  })

  it('comes back when a cooldown or the pause after a failure is over', () => {
    const cooling = afterSuccess(beliefs, [1], [1], 5000)
    expect(intentOf(plan, cooling, leading).nextAt).toBe(5000)
    expect(intentOf(plan, cooling, { ...leading, now: 5000 }).groups).toEqual([1])
    const failed = afterFailure(beliefs, [1], 1000)
    expect(intentOf(plan, failed, leading)).toMatchObject({ groups: [], held: [], nextAt: 1500 })
  })

  describe('about a primary that is down, whose reads a secondary is to take', () => {
    const degraded = planned({
      nodes: [silent('w1a')],
      options: { routing: { ...OPTIONS.routing, primaryDown: 'secondary' } },
    })
    const given = { ...leading, fenced: [1] }

    it('leaves the group alone while it is fenced: a switchover is under way', () => {
      expect(degraded.changes.map(({ group, kind }) => `${group} ${kind}`)).toEqual(['1 degraded'])
      const would = [expect.stringContaining('degraded: node 2')]
      expect(intentOf(degraded, beliefs, given)).toMatchObject({
        kind: 'nothing',
        groups: [],
        held: [{ group: 1, why: 'fenced', would }],
      })
      expect(intentOf(degraded, beliefs, { ...given, leftovers: true }).kind).toBe('recovery')
    })

    it('changes it once the fence is gone, or where another group’s is held', () => {
      for (const fenced of [[], [2]])
        expect(intentOf(degraded, beliefs, { ...given, fenced }).groups).toEqual([1])
    })

    it('keeps neither the promotion of the fenced group nor another group from its change', () => {
      expect(intentOf(plan, beliefs, given).groups).toEqual([1])
      const moved = plan.changes.map((each) => ({ ...each, group: 2 }))
      const both: Plan = { ...degraded, changes: [...degraded.changes, ...moved] }
      const intent = intentOf(both, beliefs, given)
      expect(intent.groups).toEqual([2])
      expect(intent.held).toMatchObject([{ group: 1, why: 'fenced' }])
    })
  })

  it('tries a group that failed apart from those that did not', () => {
    const both: Plan = { ...plan, changes: plan.changes.flatMap((each) => [each, { ...each, group: 2 }]) }
    const failed = afterFailure(beliefs, [1], 0)
    expect(intentOf(both, failed, leading).groups).toEqual([2])
    const bothFailed = afterFailure(beliefs, [1, 2], 0)
    expect(intentOf(both, bothFailed, leading).groups).toHaveLength(1)
    expect(intentOf(both, beliefs, leading).groups).toEqual([1, 2])
  })

  describe('about a standby to be registered', () => {
    const spare = { host: 'w1c', port: 5432 }
    const registration = { group: 1, address: spare, primary: spare, cluster: 'default', rack: null, why: '' }
    const news: Plan = { ...idle, registrations: [registration] }

    it('walks for its group', () => {
      expect(intentOf(news, beliefs, leading)).toMatchObject({ kind: 'change', groups: [1], held: [] })
    })

    it.each<[string, Partial<Circumstances>, string]>([
      ['follows', { leadership: 'following' }, 'following'],
      ['is paused', { pauses: [pause(1)] }, 'paused'],
    ])('says what it would do while it %s', (_, given, why) => {
      const intent = intentOf(news, beliefs, { ...leading, ...given })
      expect(intent).toMatchObject({ kind: 'nothing', groups: [] })
      expect(intent.held).toEqual([{ group: 1, why, would: ['registered: w1c:5432'] }])
    })

    it('does not keep the rest from its housekeeping while its group is paused', () => {
      const proofs = [{ group: 2, systemIdentifier: '7', timeline: 1, history: [] }]
      const intent = intentOf({ ...news, proofs }, beliefs, { ...leading, pauses: [pause(1)] })
      expect(intent).toMatchObject({ kind: 'housekeeping', groups: [0, 2], held: [{ group: 1 }] })
    })
  })

  it('does nothing where nothing is to be done', () => {
    expect(intentOf(idle, beliefs, leading)).toMatchObject({ groups: [], held: [], nextAt: null })
  })

  const left = { ...leading, leftovers: true }

  it('resolves what was left prepared, also while a group is paused', () => {
    expect(intentOf(idle, beliefs, left)).toMatchObject({ kind: 'housekeeping', groups: [0, 1, 2] })
    expect(intentOf(idle, beliefs, { ...left, pauses: [pause(1)] }).groups).toEqual([0, 2])
    expect(intentOf(idle, beliefs, { ...left, leadership: 'following' })).toMatchObject({ kind: 'nothing' })
    expect(intentOf(idle, beliefs, { ...left, housekeepingRestUntil: 2000 })).toMatchObject({
      kind: 'nothing',
      groups: [],
      nextAt: 2000,
    })
  })

  it.each<[string, Partial<Circumstances>, readonly Belief[]]>([
    ['the cluster is paused', { pauses: [pause(null)] }, beliefs],
    ['the group is paused', { pauses: [pause(1)] }, beliefs],
    ['the group cools down', {}, afterSuccess(beliefs, [1], [1], 5000)],
    ['the group rests after a failure', {}, afterFailure(beliefs, [1], 1000)],
  ])('resolves nothing but that where %s, and wants a change', (_, given, believed) => {
    const without = intentOf(plan, believed, { ...leading, ...given })
    expect(without).toMatchObject({ kind: 'nothing', groups: [] })
    const circumstances = { ...left, ...given }
    expect(intentOf(plan, believed, circumstances)).toEqual({ ...without, kind: 'recovery' })
    const follows = { ...circumstances, leadership: 'following' as const }
    expect(intentOf(plan, believed, follows).kind).toBe('nothing')
    const resting = intentOf(plan, believed, { ...circumstances, housekeepingRestUntil: 1200 })
    expect(resting).toEqual({ ...without, nextAt: 1200 })
  })

  it('resolves what was left prepared while the cluster is paused and well', () => {
    expect(intentOf(idle, beliefs, { ...left, pauses: [pause(null)] })).toMatchObject({
      kind: 'recovery',
      groups: [],
    })
  })
})

describe('a follower', () => {
  const held = (why: Held['why'], would = ['moved: node 2, a -> b']) => ({
    kind: 'nothing' as const,
    groups: [],
    held: [{ group: 1, why, would }],
    nextAt: null,
  })
  const everything = { group: null, since: '', by: 'me', why: null }

  it.each<[string, Intent[], readonly Pause[], boolean]>([
    ['complains of a leader that does nothing', [held('following'), held('following')], [], true],
    ['not where it is paused', [held('following'), held('following')], [everything], false],
    [
      'not where something else is to be done by now',
      [held('following', ['x']), held('following')],
      [],
      false,
    ],
    ['not where it was done meanwhile', [held('following'), { ...held('following'), held: [] }], [], false],
    ['not of itself', [held('unconfirmed'), held('unconfirmed')], [], false],
  ])('%s', (_, [first, then], pauses, complains) => {
    if (!first || !then) throw new Error('two looks')
    const eye = new IdleLeader(1000, 10_000)
    expect(eye.see(first, pauses, 0, null)).toBeNull()
    expect(eye.see(first, pauses, 29_000, null)).toBeNull()
    const found = eye.see(then, pauses, 30_000, 'cn1, process 7 of citus_ha')
    expect(found?.message ?? null).toEqual(
      complains
        ? expect.stringMatching(/process 7 of citus_ha.*has not acted for 30 s.*group 1: moved: node 2/)
        : null,
    )
  })
})
