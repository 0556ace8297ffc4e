import type { SessionLike } from '../../src/db/pg.ts'
import type { Access } from '../../src/walk/access.ts'

/** One message of a change and its answer; `performance.now()`. */
export interface Message {
  readonly sql: string
  readonly began: number
  ended: number
}

/** The same access, with every message that is sent on a session of its own written down. */
export function recording(access: Access, log: Message[]): Access {
  return {
    migration: access.migration,
    clientTexts: access.clientTexts,
    prober: (database) => access.prober(database),
    blockers: (...args) => access.blockers(...args),
    open: async (...args) => recorded(await access.open(...args), log),
    close: () => access.close(),
  }
}

function recorded(session: SessionLike, log: Message[]): SessionLike {
  return {
    get pid() {
      return session.pid
    },
    get alive() {
      return session.alive
    },
    run: async (sql, limitMs) => {
      const message = { sql, began: performance.now(), ended: Number.POSITIVE_INFINITY }
      log.push(message)
      try {
        return await session.run(sql, limitMs)
      } finally {
        message.ended = performance.now()
      }
    },
    close: () => session.close(),
  }
}

/** What happened while writers waited. */
export interface Window {
  /** From the coordinator's lock until the last copy was committed, in milliseconds. */
  readonly ms: number
  /** Messages that had to wait for an earlier answer: those sent at once to all count as one. */
  readonly roundTrips: number
  readonly messages: number
}

/** @throws Error where the log has no change that was committed */
export function windowOf(log: readonly Message[]): Window {
  const first = log.find(({ sql }) => sql.includes('citus_ha.lock_copy'))
  const last = log.findLast(({ sql }) => sql.startsWith('COMMIT PREPARED'))
  if (!first || !last) throw new Error('no change was committed')
  const inside = log.filter(({ began }) => began >= first.began && began <= last.began)
  let roundTrips = 0
  let answered = Number.NEGATIVE_INFINITY
  for (const { began, ended } of inside) {
    if (began >= answered) roundTrips++
    answered = Math.max(answered, ended)
  }
  return { ms: answered - first.began, roundTrips, messages: inside.length }
}
