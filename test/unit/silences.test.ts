import { describe, expect, it } from 'vitest'
import { formatAddress } from '../../src/model/node.ts'
import type { Observation } from '../../src/model/observation.ts'
import { Silences } from '../../src/watch/silences.ts'
import type { PulseState } from '../../src/watch/state.ts'
import { address, silent, surveyOf, testimony, writable } from '../support/builders.ts'

const CONFIRM = { surveys: 2, apartMs: 800 }
const hanging = () => silent('w2a', 'timeout')

const pulse = (state: PulseState['state']): PulseState[] => [
  { address: address('w2a'), state, inRecovery: null, lsn: null, heardMsAgo: null },
]

/** Who is known to be silent after surveys that saw this, at these moments. */
function known(
  seen: readonly (readonly [at: number, node: Observation])[],
  pulses: readonly PulseState[] = pulse('down'),
): string[] {
  const silences = new Silences(CONFIRM)
  for (const [at, node] of seen) silences.see(surveyOf([node]), at)
  return silences.next(pulses).nodes.map((node) => formatAddress(node.address))
}

describe('who is known to hang', () => {
  const same = hanging()
  it.each([
    ['seen once', [[0, hanging()]], []],
    [
      'seen twice',
      [
        [0, hanging()],
        [1000, hanging()],
      ],
      ['w2a:5432'],
    ],
    [
      'seen twice within a moment',
      [
        [0, hanging()],
        [100, hanging()],
      ],
      [],
    ],
    [
      'taken from the first sight',
      [
        [0, same],
        [1000, same],
      ],
      [],
    ],
    [
      'back meanwhile',
      [
        [0, hanging()],
        [1000, writable('w2a', 2)],
        [2000, hanging()],
      ],
      [],
    ],
    [
      'refused: that is no wait',
      [
        [0, silent('w2a')],
        [1000, silent('w2a')],
      ],
      [],
    ],
  ] as const)('%s', (_, seen, expected) => {
    expect(known(seen)).toEqual(expected)
  })

  it.each(['up', 'starting'] as const)('not one whose pulse is %s', (state) => {
    expect(
      known(
        [
          [0, hanging()],
          [1000, hanging()],
        ],
        pulse(state),
      ),
    ).toEqual([])
  })

  it('asks for another survey until it is known', () => {
    const silences = new Silences(CONFIRM)
    const unsettled = [0, 1000, 2000].map((at) => {
      silences.see(surveyOf([hanging()]), at)
      return silences.isUnsettled
    })
    expect(unsettled).toEqual([true, false, false])
  })

  it('with what was said of it', () => {
    const silences = new Silences(CONFIRM)
    const told = [testimony('cn1', 'w2a', 'down'), testimony('cn1', 'w1a', 'down')]
    silences.see(surveyOf([hanging()], told), 0)
    expect(silences.next([]).testimony).toEqual(told.slice(0, 1))
  })

  it('a promotion hurries the survey that is under way, and the next one', async () => {
    const silences = new Silences(CONFIRM)
    const surveys = [silences.next([])]
    silences.hurry()
    surveys.push(silences.next([]), silences.next([]))
    const pending = Symbol('pending')
    const ended = await Promise.all(
      surveys.map(({ hurry }) => Promise.race([hurry, Promise.resolve(pending)])),
    )
    expect(ended.map((each) => each === pending)).toEqual([false, false, true])
  })
})
