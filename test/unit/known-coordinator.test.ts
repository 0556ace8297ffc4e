import { describe, expect, test } from 'vitest'
import { type KnownCoordinator, requireKnown } from '../../src/walk/checks.ts'
import { left, systemOf, writable } from '../support/builders.ts'

const LAG = 0x10
const FOLLOWED: KnownCoordinator = {
  systemIdentifier: systemOf(0),
  timeline: 2,
  history: [left(1, '0/50')],
  lsn: 0x100n,
}
type Parts = Parameters<typeof writable>[2]

describe('a watch that has followed a coordinator follows', () => {
  const CASES: readonly { readonly name: string; readonly parts: Parts; readonly refused?: RegExp }[] = [
    { name: 'the same, further on', parts: { timeline: 2, history: [left(1, '0/50')], lsn: 0x200n } },
    {
      name: 'the same, as it was a moment ago',
      parts: { timeline: 2, history: [left(1, '0/50')], lsn: 0xf8n },
    },
    {
      name: 'a standby of it that was promoted',
      parts: { timeline: 3, history: [left(1, '0/50'), left(2, '0/100')], lsn: 0x110n },
    },
    {
      name: 'a standby of it that lagged no more than it may',
      parts: { timeline: 3, history: [left(1, '0/50'), left(2, '0/F8')], lsn: 0x110n },
    },
    {
      name: 'none that left its timeline long before',
      parts: { timeline: 3, history: [left(1, '0/50'), left(2, '0/60')], lsn: 0x500n },
      refused: /it has timeline 2 up to 0\/60, but the last known coordinator was at 0\/100/,
    },
    {
      name: 'no backup of it on the same timeline',
      parts: { timeline: 2, history: [left(1, '0/50')], lsn: 0x60n },
      refused: /it has timeline 2 up to 0\/60/,
    },
    {
      name: 'none on another timeline of the same number',
      parts: { timeline: 2, history: [left(1, '0/40')], lsn: 0x900n },
      refused: /a timeline 2 that is not/,
    },
    {
      name: 'none on a higher timeline that never was on its own',
      parts: { timeline: 3, history: [left(1, '0/50')], lsn: 0x900n },
      refused: /timeline 2 of the group is not in the history of its timeline 3/,
    },
    {
      name: 'no old one',
      parts: { timeline: 1, history: [], lsn: 0x900n },
      refused: /it is on timeline 1, the group was already on 2: it is an old coordinator or a backup/,
    },
    { name: 'one whose history can’t be read', parts: { timeline: 2, history: null, lsn: 0x10n } },
    {
      name: 'no older one whose history can’t be read',
      parts: { timeline: 1, history: null, lsn: 0x900n },
      refused: /it is on timeline 1, but the last known coordinator was on 2/,
    },
    { name: 'none of another system', parts: { systemIdentifier: '42' }, refused: /another system: 42/ },
  ]
  test.each(CASES)('$name', ({ parts, refused }) => {
    const ask = () => requireKnown(writable('cn1', 0, parts), FOLLOWED, LAG)
    if (refused) expect(ask).toThrow(refused)
    else expect(ask).not.toThrow()
  })

  test('whoever it is, at first', () => {
    expect(() => requireKnown(writable('cn1', 0), null, LAG)).not.toThrow()
  })
})
