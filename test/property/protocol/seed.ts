/**
 * Which schedules are drawn: the same each time, so that a change is blamed for nothing but what it did. `CITUS_HA_SEED` draws
 * others: a number, or `random` to look for what nobody has met yet. Spread into fast-check's parameters.
 */
export const SEED =
  process.env.CITUS_HA_SEED === 'random' ? {} : { seed: Number(process.env.CITUS_HA_SEED ?? 20_261_129) }
