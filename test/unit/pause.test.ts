import { describe, expect, test } from 'vitest'
import { describePause, type Pause, pausedBy } from '../../src/model/pause.ts'

const pause = (group: number | null, why: string | null = null): Pause => ({
  group,
  since: '2026-01-01T00:00:00.000Z',
  by: 'ann',
  why,
})

describe('pausedBy', () => {
  test('a group’s own pause is nobody else’s', () => {
    const pauses = [pause(1)]
    expect(pausedBy(pauses, 1)).toBe(pauses[0])
    expect(pausedBy(pauses, 2)).toBeNull()
    expect(pausedBy([], 0)).toBeNull()
  })

  test('the cluster’s counts for each group, before its own, in whatever order they come', () => {
    const [own, whole] = [pause(1), pause(null)]
    for (const pauses of [
      [own, whole],
      [whole, own],
    ]) {
      expect(pausedBy(pauses, 1)).toBe(whole)
      expect(pausedBy(pauses, 0)).toBe(whole)
    }
  })
})

test('a pause in one line', () => {
  expect(describePause(pause(0))).toBe('group 0 since 2026-01-01T00:00:00.000Z by ann')
  expect(describePause(pause(null, 'upgrade'))).toBe(
    'the cluster since 2026-01-01T00:00:00.000Z by ann: upgrade',
  )
})
