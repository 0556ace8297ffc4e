/**
 * How many standbys a commit waits for, by `synchronous_standby_names` (PostgreSQL manual, 20.6.1): `FIRST n (…)`,
 * `ANY n (…)`, `n (…)` or a plain list, which means one. 0: it waits for none.
 */
export function standbysWaitedFor(names: string): number {
  if (names.trim() === '') return 0
  const counted = /^\s*(?:(?:first|any)\s+)?(\d+)\s*\(/i.exec(names)
  return counted ? Number(counted[1]) : 1
}
