import { describe, expect, it } from 'vitest'
import { Silences } from '../../src/watch/silences.ts'
import { silent, surveyOf, testimony } from '../support/builders.ts'
import { pulse } from '../support/watch-state.ts'

const hanging = (tries: number) => pulse('w2a', { state: 'down', silence: { tries, detail: 'connect w2a' } })

describe('who is known to hang', () => {
  it.each([
    ['a node that answers', pulse('w2a'), false],
    ['one that refuses connections', pulse('w2a', { state: 'down' }), false],
    ['one that gave no answer once', hanging(1), false],
    ['one that gave none again', hanging(2), true],
    ['one that is asked for the first time', { ...hanging(2), state: 'starting' } as const, false],
  ])('%s', (_, state, isKnown) => {
    expect(new Silences(2).next([state]).nodes).toEqual(isKnown ? [silent('w2a', 'timeout')] : [])
  })

  it('is told of once, until it has answered', () => {
    const silences = new Silences(2)
    const told = [hanging(1), hanging(2), hanging(3), pulse('w2a'), hanging(2)].map(
      (state) => silences.news([state]).length,
    )
    expect(told).toEqual([0, 1, 0, 0, 1])
  })

  it('with what was said of it', () => {
    const silences = new Silences(2)
    const told = [testimony('cn1', 'w2a', 'down')]
    silences.see(surveyOf([], told))
    expect(silences.next([]).testimony).toEqual(told)
  })

  it('a promotion hurries the survey that is under way, and the next one', async () => {
    const silences = new Silences(2)
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
