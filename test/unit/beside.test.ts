import { describe, expect, it } from 'vitest'
import { formatAddress } from '../../src/model/node.ts'
import type { Answered, Observation } from '../../src/model/observation.ts'
import { promotedBeside, whyNotOpened } from '../../src/switchover/beside.ts'
import type { Access } from '../../src/walk/access.ts'
import { silent, standby, surveyOf, writable } from '../support/builders.ts'

const OLD = writable('w1a', 0, { readOnly: true })
const TARGET = standby('w1b', 0, 'w1a')
const expand = (node: Answered): Answered => {
  if (!node.citus) throw new Error('it has Citus')
  return { ...node, citus: { ...node.citus, useSecondaryNodes: 'always' } }
}

describe('whether another is promoted instead of an old primary', () => {
  // Of an old primary that runs on, read-only; and of one that was stopped.
  it.each<[string, Observation | 'never answers', string | null, RegExp | null]>([
    ['another takes writes', writable('w1c', 0), 'w1c:5432', /w1c:5432 is promoted instead of w1a:5432/],
    ['another follows', standby('w1c', 0, 'w1a'), null, null],
    ['another is read-only', writable('w1c', 0, { readOnly: true }), null, null],
    ['another is of another group', writable('w1c', 1), null, null],
    ['another is another system', writable('w1c', 0, { systemIdentifier: '99' }), null, null],
    ['an expand coordinator has a copy of its own', expand(writable('w1c', 0)), null, null],
    ['another is down', silent('w1c'), null, /not known whether w1c:5432 is promoted/],
    ['another never answers', 'never answers', null, null],
  ])('%s', async (_, other, beside, unopened) => {
    const prober = {
      probe: async (at: { readonly host: string }): Promise<Observation> => {
        if (at.host !== 'w1c') return TARGET
        return other === 'never answers' ? await new Promise(() => undefined) : other
      },
    }
    const access = { prober: () => prober } as unknown as Access
    const request = { database: 'app', claims: { standbys: [] } } as never
    const survey = surveyOf([OLD, TARGET, standby('w1c', 0, 'w1a')])
    const move = { group: 0, from: OLD, to: TARGET }
    const found = await promotedBeside(access, request, survey, move)
    expect(found && formatAddress(found)).toBe(beside)
    if (other === 'never answers') return
    const why = await whyNotOpened(access, request, survey, move)
    if (unopened === null) expect(why).toBeNull()
    else expect(why).toMatch(unopened)
  })
})
