import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import type { SessionLike } from '../db/pg.ts'
import { identifier, literal, statement } from '../db/sql.ts'
import { COORDINATOR_GROUP } from '../model/catalog.ts'
import { HELD_SETTINGS } from '../model/retired.ts'

const LIMIT_MS = 5_000
const EFFECT_MS = 1_000
/** A round of a maintenance daemon is over in less, unless it waits for a node that hangs. */
const ROUND_MS = 300
const SHORTEST_MS = 1
const LONGEST_MS = 20

const heldRows = z.array(
  z.object({
    name: z.string(),
    setting: z.string(),
    settings: z.record(z.string(), z.string()).nullable(),
    groupid: z.number().int().nullable(),
  }),
)

const inEffectRow = z.object({ now: z.array(z.string().nullable()), at: z.string() })

/**
 * Those of the settings that this server knows: how they are, what it had of its own before, what they are held at, and
 * whether it is on record here that they were to be.
 */
async function settingsOf(session: SessionLike) {
  const [rows] = await session.run(statement('switchover/held'), LIMIT_MS)
  return HELD_SETTINGS.flatMap(({ name, value, of }) => {
    const row = heldRows.parse(rows).find((each) => each.name === name)
    if (!row) return []
    const noted = row.groupid !== null && isHeld(of, row.groupid)
    return [{ name, value, of, noted, now: row.setting, own: row.settings?.[name] ?? null }]
  })
}

const isHeld = (of: (typeof HELD_SETTINGS)[number]['of'], group: number): boolean =>
  of === 'every group' || group === COORDINATOR_GROUP

/** What was found once a server had been told to read its configuration. */
export interface Effect {
  /** The settings that had not taken effect within a second. */
  readonly off: readonly string[]
  /** When that was seen, by the server's clock. */
  readonly at: string
}

/** A setting, and what it is held at. */
export interface Hold {
  readonly name: string
  readonly value: string
}

/** What a server of this group is held at: of the settings that it knows. @throws what the driver or the server says */
export async function holdsOf(session: SessionLike, group: number): Promise<Hold[]> {
  return (await settingsOf(session)).filter(({ of }) => isHeld(of, group))
}

/**
 * Holds an old primary for a switchover: no transaction that begins from now on writes, and Citus recovers none of its own
 * on other nodes. Not replicated; kept over restarts. ALTER SYSTEM can't run in a transaction: a message each.
 * @throws what the driver or the server says
 */
export async function holdServer(session: SessionLike, holds: readonly Hold[]): Promise<Effect> {
  for (const { name, value } of holds)
    await session.run(`ALTER SYSTEM SET ${quoted(name)} = ${literal(value)}`, LIMIT_MS)
  await session.run('SELECT pg_reload_conf()', LIMIT_MS)
  return await untilInEffect(session, new Map(holds.map(({ name, value }) => [name, value])))
}

/** As it was before, for good. @throws as `holdServer` */
export async function releaseServer(session: SessionLike): Promise<Effect> {
  const held = await forgetHold(session)
  await session.run('SELECT pg_reload_conf()', LIMIT_MS)
  return await untilInEffect(session, new Map(held.map(({ name, value }) => [name, { not: value }])))
}

/**
 * As it was before, from the next start or reload on.
 * @returns those that were held, and are no more
 */
export async function forgetHold(session: SessionLike) {
  const known = await settingsOf(session)
  // Whether it is read-only by default a session may see otherwise, by a setting of its own. What was not read by a reload
  // is in the file all the same: whoever has set it may have died, or failed with the next, and ours would bring it into effect.
  const held = known.filter(
    ({ name, value, now, own, noted }) =>
      own !== value && (noted || now === value || name === 'default_transaction_read_only'),
  )
  for (const { name, own } of held) {
    const back = own === null ? `RESET ${quoted(name)}` : `SET ${quoted(name)} = ${literal(own)}`
    await session.run(`ALTER SYSTEM ${back}`, LIMIT_MS)
  }
  return held
}

/** citus.name, each part for itself. */
const quoted = (name: string): string => name.split('.').map(identifier).join('.')

async function untilInEffect(
  session: SessionLike,
  wanted: ReadonlyMap<string, string | { readonly not: string }>,
): Promise<Effect> {
  const until = performance.now() + EFFECT_MS
  const names = [...wanted.keys()]
  // Not from pg_settings, which has all of them made up each time: writers wait.
  const sql = `SELECT ARRAY[${names.map((name) => `current_setting(${literal(name)}, true)`).join(', ')}]::text[] AS now, clock_timestamp()::text AS at`
  for (;;) {
    const [rows] = await session.run(sql, LIMIT_MS)
    const { now, at } = inEffectRow.parse(rows?.[0])
    const off = names.filter((name, n) => {
      const [is, value] = [now[n] ?? null, wanted.get(name)]
      // One that this server does not know is none of ours.
      return (
        is !== null && value !== undefined && (typeof value === 'string' ? is !== value : is === value.not)
      )
    })
    if (off.length === 0 || performance.now() >= until) return { off, at }
    await pause(SHORTEST_MS)
  }
}

/**
 * Ends Citus's maintenance daemons that may not know yet that they are to recover nothing, and waits for the end of what
 * they have begun.
 * @param until `performance.now()`
 * @returns false: one is still there
 * @throws what the driver or the server says
 */
export async function daemonsEnded(session: SessionLike, until: number): Promise<boolean> {
  const hangsAt = performance.now() + ROUND_MS
  for (let waitMs = SHORTEST_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_MS)) {
    const [rows] = await session.run('SELECT citus_ha.end_maintenance_daemons() AS left', LIMIT_MS)
    if (Number(rows?.[0]?.left) === 0) return true
    if (performance.now() >= until) return false
    if (performance.now() >= hangsAt)
      await session.run('SELECT citus_ha.cancel_maintenance_daemons()', LIMIT_MS)
    await pause(waitMs)
  }
}
