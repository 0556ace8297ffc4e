import type { Answered } from './observation.ts'

/**
 * How many standbys a commit waits for, by `synchronous_standby_names` (PostgreSQL manual, 20.6.1): `FIRST n (…)`,
 * `ANY n (…)`, `n (…)` or a plain list, which means one. 0: it waits for none.
 */
export function standbysWaitedFor(names: string): number {
  if (names.trim() === '') return 0
  const counted = /^\s*(?:(?:first|any)\s+)?(\d+)\s*\(/i.exec(names)
  return counted ? Number(counted[1]) : 1
}

/** Why the commits of a primary wait without end, in a sentence without its subject; null: they don't, or it is not known. */
export function whyCommitsHang({ synchronousNames, senders, readsStatistics }: Answered): string | null {
  const needed = standbysWaitedFor(synchronousNames)
  if (needed === 0 || !readsStatistics) return null
  const there = senders.filter(
    ({ state, syncState }) => state === 'streaming' && (syncState === 'sync' || syncState === 'quorum'),
  ).length
  if (there >= needed) return null
  const standbys = needed === 1 ? 'one synchronous standby' : `${needed} synchronous standbys`
  return `waits for ${standbys} at each commit, and ${there === 0 ? 'none' : `only ${there}`} streams from it`
}

/** Whether a standby of that name is one of those that are waited for: names are compared without regard to case. */
export function isWaitedFor(names: string, applicationName: string): boolean {
  const list = /^\s*(?:(?:first|any)\s+)?\d+\s*\((.*)\)\s*$/is.exec(names)?.[1] ?? names
  const wanted = [...list.matchAll(/"((?:[^"]|"")*)"|([^\s,"]+)/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
  )
  return wanted.some((name) => name === '*' || name.toLowerCase() === applicationName.toLowerCase())
}
