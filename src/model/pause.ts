/** Somebody's word that nothing is to be changed without being asked for (`citus_ha.pause`). */
export interface Pause {
  /** null: the whole cluster. */
  readonly group: number | null
  /** ISO 8601, by the coordinator's clock. */
  readonly since: string
  readonly by: string
  readonly why: string | null
}

/** The pause that a group is under: the cluster's before its own; null where it is under none. */
export function pausedBy(pauses: readonly Pause[], group: number): Pause | null {
  return pauses.find((pause) => pause.group === null) ?? pauses.find((pause) => pause.group === group) ?? null
}

/** Such as `group 1 since 2026-01-01T00:00:00.000Z by citus-ha (ann) as citus_ha from 10.0.0.9: disks are moved`. */
export function describePause(pause: Pause): string {
  return `${scopeOf(pause.group)} ${sinceOf(pause)}`
}

/** The same without the scope. */
export function sinceOf({ since, by, why }: Pause): string {
  return `since ${since} by ${by}${why === null ? '' : `: ${why}`}`
}

export function scopeOf(group: number | null): string {
  return group === null ? 'the cluster' : `group ${group}`
}
