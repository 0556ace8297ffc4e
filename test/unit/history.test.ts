import { describe, expect, it } from 'vitest'
import { newestFirst } from '../../src/walk/history.ts'

describe('changes of several databases', () => {
  it('are in the order of their moments, whatever the offset from UTC in which each is written', () => {
    const changes = [
      { epoch: 1, decidedAt: '2026-10-25T02:30:00+02:00' },
      { epoch: 2, decidedAt: '2026-10-25T02:10:00+01:00' },
      { epoch: 3, decidedAt: '2026-10-25T00:20:00Z' },
    ]
    expect(newestFirst(changes).map(({ epoch }) => epoch)).toEqual([2, 1, 3])
  })

  it('stay in the order of their epochs where they were decided within one millisecond', () => {
    const decidedAt = '2026-10-25T00:20:00.000Z'
    const changes = [3, 2, 1].map((epoch) => ({ epoch, decidedAt }))
    expect(newestFirst(changes)).toEqual(changes)
  })
})
