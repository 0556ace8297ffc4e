import { describe, expect, test } from 'vitest'
import type { SessionLike } from '../../src/db/pg.ts'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { NO_CLAIMS } from '../../src/diagnose/facts.ts'
import type { Intent } from '../../src/model/intent.ts'
import { intentsIn } from '../../src/model/intents.ts'
import type { Answered } from '../../src/model/observation.ts'
import { untilPromoted } from '../../src/walk/intents.ts'
import { address, installed, surveyOf, TWO_WORKERS, writable } from '../support/builders.ts'

const intent = (run: string, phase: Intent['phase']): Intent => {
  const [from, to] = [address('w1a'), address('w1b')]
  return { group: 1, from, to, phase, byCommand: false, stopped: false, madeBy: 'somebody', run }
}

const nodesWith = (
  coordinator: readonly Intent[],
  primary: readonly Intent[],
): readonly [Answered, Answered] => [
  writable('cn1', 0, { catalog: TWO_WORKERS, installed: installed({ intents: coordinator }) }),
  writable('w1a', 1, { catalog: TWO_WORKERS, readOnly: true, installed: installed({ intents: primary }) }),
]

describe('what a switchover has written down, where the coordinator and the old primary differ', () => {
  test.each([
    // Undone there, or never begun: a coordinator's standby took its place, and had not got its last word.
    { coordinator: ['a', 'promoting'], primary: null, counts: ['a', 'quiescing'] },
    { coordinator: null, primary: ['a', 'promoting'], counts: ['a', 'promoting'] },
    { coordinator: ['a', 'quiescing'], primary: ['a', 'promoting'], counts: ['a', 'promoting'] },
    { coordinator: ['a', 'promoting'], primary: ['a', 'quiescing'], counts: ['a', 'quiescing'] },
    { coordinator: ['a', 'promoting'], primary: ['b', 'quiescing'], counts: ['b', 'quiescing'] },
    { coordinator: ['a', 'quiescing'], primary: ['b', 'promoting'], counts: ['b', 'promoting'] },
  ] as const)('$coordinator and $primary: $counts', ({ coordinator, primary, counts }) => {
    const said = (told: readonly [string, Intent['phase']] | null) => (told ? [intent(...told)] : [])
    expect(intentsIn(nodesWith(said(coordinator), said(primary)))).toEqual(said(counts))
  })

  test('an old primary that takes writes is held by nobody, whatever is written down', () => {
    const [coordinator, primary] = nodesWith([intent('a', 'promoting')], [intent('a', 'promoting')])
    expect(intentsIn([coordinator, { ...primary, readOnly: false }])).toEqual([intent('a', 'quiescing')])
  })

  test.each([
    [true, 'promoting'],
    [false, 'quiescing'],
  ] as const)('the same of an old coordinator: read-only %s, %s', (readOnly, phase) => {
    const own: Intent = { ...intent('a', 'promoting'), group: 0, from: address('cn1'), to: address('cn2') }
    const coordinator = { ...nodesWith([own], [])[0], readOnly }
    expect(intentsIn([coordinator])).toEqual([{ ...own, phase }])
    // Of another, which is promoted since, it says nothing.
    const other: Intent = { ...own, from: address('cn3') }
    expect(intentsIn([{ ...coordinator, installed: installed({ intents: [other] }) }])).toEqual([other])
  })

  test('of one that was stopped by a command only the coordinator knows', () => {
    const stopped = { ...intent('a', 'promoting'), stopped: true }
    expect(intentsIn(nodesWith([stopped], [intent('a', 'quiescing')]))).toEqual([stopped])
    expect(intentsIn(nodesWith([stopped], []))).toEqual([{ ...stopped, phase: 'quiescing' }])
  })

  test('its target, once promoted, is believed by the old primary’s word', () => {
    const nodes = nodesWith([intent('a', 'quiescing')], [intent('a', 'promoting')])
    const promoted = writable('w1b', 1, { catalog: TWO_WORKERS, timeline: 2 })
    const found = diagnose(surveyOf([...nodes, promoted]), NO_CLAIMS).find(({ group }) => group === 1)
    expect(found).toMatchObject({ standing: 'proved', code: 'promoted' })
  })
})

describe('a promotion that is waited for', () => {
  const until = () => performance.now() + 1000
  const session = (...answers: (Error | boolean)[]): SessionLike => ({
    pid: 1,
    alive: true,
    run: async () => {
      const answer = answers.shift()
      if (answer instanceof Error) throw answer
      return [answer === true ? [{ standby: false }] : []]
    },
    close: async () => undefined,
  })
  const error = (code: string) => Object.assign(new Error('no'), { code })

  test.each(['40001', '57014'])('is looked at again where the look is cancelled: %s', async (code) => {
    await expect(untilPromoted(session(error(code), false, true), until())).resolves.toBeUndefined()
  })

  test('is told of what else goes wrong, and of its end', async () => {
    await expect(untilPromoted(session(error('42501')), until())).rejects.toMatchObject({ code: '42501' })
    await expect(untilPromoted(session(false), performance.now())).rejects.toThrow('is still in recovery')
  })
})
