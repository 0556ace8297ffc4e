import { describe, expect, it } from 'vitest'
import type { Answered, WalSender } from '../../src/model/observation.ts'
import { whyCommitsHang } from '../../src/model/sync-names.ts'
import { writable } from '../support/builders.ts'

const sender = (syncState: string, state = 'streaming'): WalSender => ({
  applicationName: 'a standby',
  clientHost: null,
  state,
  syncState,
})

describe('commits of a primary', () => {
  it.each<[string, Partial<Answered>, RegExp | null]>([
    ['wait for nobody', {}, null],
    ['wait for one that is there', { synchronousNames: '*', senders: [sender('sync')] }, null],
    ['wait for one of a quorum', { synchronousNames: 'ANY 1 (a, b)', senders: [sender('quorum')] }, null],
    ['hang with none', { synchronousNames: 'a' }, /one synchronous standby .* none/],
    ['hang with one that is not among them', { synchronousNames: 'a', senders: [sender('async')] }, /none/],
    [
      'hang with one that catches up',
      { synchronousNames: 'a', senders: [sender('sync', 'catchup')] },
      /none/,
    ],
    [
      'hang with one of two',
      { synchronousNames: 'FIRST 2 (a, b)', senders: [sender('sync')] },
      /2 synchronous standbys .* only 1/,
    ],
    ['are not known about without the right to see', { synchronousNames: '*', readsStatistics: false }, null],
  ])('%s', (_, seen, why) => {
    const found = whyCommitsHang({ ...writable('w1a', 1), ...seen })
    if (why === null) expect(found).toBeNull()
    else expect(found).toMatch(why)
  })
})
