import { describeBlocker } from '../apply/blockers.ts'
import type { LogLevel } from '../config/log-level.ts'
import { redact } from '../config/redact.ts'
import { formatAddress } from '../model/node.ts'
import { unproved } from '../model/outcome.ts'
import { textsOf } from '../model/remark.ts'
import type { Acted, Diagnosed, Held, Noticed, WatchEvent } from './event.ts'
import { type Fields, scrubbed } from './scrub.ts'

export interface WatchLogOptions {
  readonly level: LogLevel
  /** Given whole lines, each with its end. */
  readonly write: (line: string) => void
  /** Milliseconds, for tests. */
  readonly now?: () => number
}

/** A watcher's log: a JSON line a fact. */
export interface WatchLog {
  /** Writes what happened; what only repeats itself is told at `debug`. */
  readonly told: (event: WatchEvent) => void
  /** Writes a line of the service itself: that it begins, that a file was read. */
  readonly say: (level: Line['level'], text: string, fields?: Fields) => void
  level: LogLevel
}

/** One line, before it is written. */
export interface Line {
  readonly level: 'error' | 'warn' | 'info' | 'debug' | 'trace'
  readonly text: string
  readonly fields: Fields
}

export async function openWatchLog(options: WatchLogOptions): Promise<WatchLog> {
  // Loaded here: no other command should wait for it.
  const { pino } = await import('pino')
  const log = pino({ level: options.level, name: 'citus-ha' }, { write: options.write })
  const put = ({ level, text, fields }: Line) => {
    if (log.isLevelEnabled(level)) log[level](scrubbed(fields), redact(text))
  }
  const narrator = new Narrator(options.now ?? (() => performance.now()))
  return {
    told: (event) => narrator.linesOf(event).forEach(put),
    say: (level, text, fields = {}) => put({ level, text, fields }),
    get level() {
      return log.level as LogLevel
    },
    set level(wanted) {
      log.level = wanted
    },
  }
}

const CYCLE: readonly LogLevel[] = ['info', 'debug', 'trace']

/** What SIGUSR2 does: the next of info, debug, trace; from any other level, and after trace, info. */
export function cycleLevel(log: WatchLog): LogLevel {
  const next = CYCLE[CYCLE.indexOf(log.level) + 1] ?? 'info'
  log.level = next
  log.say('info', `the log’s level is ${next} now`)
  return next
}

interface Failing {
  readonly what: string
  readonly level: 'warn' | 'error'
  readonly tries: number
  /** When the row of failures began. */
  readonly since: number
}

/** Says events in lines, and remembers what was said already. */
class Narrator {
  /** By `database/group`. */
  readonly #failing = new Map<string, Failing>()
  /** By `database/text`: when it was last loud that a turn failed with it. */
  readonly #failed = new Map<string, number>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  linesOf(event: WatchEvent): Line[] {
    switch (event.kind) {
      case 'noticed':
        return [noticedLine(event)]
      case 'diagnosed':
        return [diagnosedLine(event), ...this.#settled(event)]
      case 'acted':
        return event.failures > 0 ? this.#failure(event) : this.#success(event)
      case 'held':
        return [heldLine(event)]
      case 'failed':
        return this.#turnFailed(event.database, event.message)
      case 'leadership': {
        const { database, now, why } = event
        const level = now === 'none' ? 'warn' : 'info'
        const text = why === null ? LEADERSHIP[now] : `${LEADERSHIP[now]}: ${why}`
        return [{ level, text, fields: { event: 'leadership', database, leadership: now } }]
      }
      case 'coordinator': {
        const { database, node, why } = event
        const at = node === null ? null : formatAddress(node)
        const text = at === null ? `no coordinator: ${why}` : `coordinator ${at}: ${why}`
        const level = at === null ? 'warn' : 'info'
        return [{ level, text, fields: { event: 'coordinator', database, node: at } }]
      }
      case 'database': {
        const { database, now } = event
        if (now === 'gone') this.#forget(database)
        const text = now === 'gone' ? 'the database is no longer watched' : 'the database is watched'
        return [{ level: 'info', text, fields: { event: 'database', database, now } }]
      }
      case 'fence': {
        const { database, group, now, detail } = event
        const text = now === 'held' ? 'writes are held on' : 'writes continue:'
        const fields = { event: 'fence', database, group, now }
        return [{ level: 'info', text: `group ${group}: ${text} ${detail}`, fields }]
      }
      case 'progress': {
        const { database, line } = event
        const level = this.#isFailing(database) ? 'debug' : 'info'
        return [{ level, text: line, fields: { event: 'progress', database } }]
      }
    }
  }

  /** Loud once; the same again is not, until it is another failure, or a new row of them. */
  #failure(event: Acted): Line[] {
    const { report, groups, failures } = event
    const { database, outcome, reason, refusals, warnings, blockers } = report
    const keys = groups.map((group) => `${database}/${group}`)
    const now = this.#now()
    const begun = failures > 1 ? keys.map((key) => this.#failing.get(key)?.since ?? now) : []
    const since = Math.min(now, ...begun)
    // One after the other keep a change out as well as one that stays.
    const isPassing =
      now - since < PASSING_MS &&
      blockers.length > 0 &&
      blockers.every(({ ageMs }) => ageMs !== null && ageMs < PASSING_MS)
    const level = isPassing ? 'warn' : 'error'
    const what = [outcome, ...refusals.map(({ group, rule }) => `${group}:${rule}`)].join(' ')
    const repeated =
      failures > 1 &&
      keys.every((key) => {
        const known = this.#failing.get(key)
        return known?.what === what && known.level === level
      })
    for (const key of keys) this.#failing.set(key, { what, level, tries: failures, since })
    const rules = refusals.map(({ group, rule, reason }) => ({ group, rule, code: reason }))
    const inTheWay = blockers.map(describeBlocker)
    const fields = {
      event: 'acted',
      database,
      groups,
      outcome,
      failures,
      reason,
      rules,
      warnings,
      blockers: inTheWay,
    }
    const text = `${groupsText(groups)}: ${outcome}: ${reason.text}`
    return [{ level: repeated ? 'debug' : level, text, fields }]
  }

  #success(event: Acted): Line[] {
    const { report, groups, stages } = event
    const { database, outcome, epoch, changes, warnings, durationMs } = report
    const level = LEVEL_OF[outcome]
    const fields = { event: 'acted', database, groups, outcome, epoch, durationMs, stages }
    const rows = changes.map(({ group, nodeid, kind, from, to, why }): Line => {
      const row = { event: 'row', database, group, nodeid, change: kind, from, to, why }
      return { level: 'info', text: `group ${group}: ${kind}: ${from} -> ${to}`, fields: row }
    })
    const rules = report.groups
      .filter(({ group }) => groups.includes(group))
      .map(({ group, rule, code }) => ({ group, rule, code }))
    return [
      ...rows,
      { level, text: `${groupsText(groups)}: ${outcome}`, fields: { ...fields, rules } },
      ...[...textsOf(unproved(report.copies)), ...report.unfenced, ...warnings].map(
        (text): Line => ({ level: 'warn', text, fields: { event: 'warning', database } }),
      ),
      ...groups.flatMap((group) => this.#recovered(database, group)),
    ]
  }

  /** A group that somebody else put right. */
  #settled({ database, group, standing }: Diagnosed): Line[] {
    return standing === 'sound' ? this.#recovered(database, group) : []
  }

  #recovered(database: string, group: number): Line[] {
    const key = `${database}/${group}`
    const failing = this.#failing.get(key)
    if (!failing) return []
    this.#failing.delete(key)
    const { tries, what } = failing
    const fields = { event: 'recovered', database, group, failures: tries, was: what }
    return [{ level: 'info', text: `group ${group}: works again, after ${tries} failed tries`, fields }]
  }

  /** A text that comes and goes is loud once in a while only. */
  #turnFailed(database: string, message: string): Line[] {
    const now = this.#now()
    const key = `${database}/${message}`
    for (const [text, at] of this.#failed) if (now - at > QUIET_MS) this.#failed.delete(text)
    const repeated = this.#failed.has(key)
    if (!repeated) this.#failed.set(key, now)
    const [text = '', ...stack] = message.split('\n')
    const fields = { event: 'failed', database, ...(stack.length > 0 && { stack: stack.join('\n') }) }
    return [{ level: repeated ? 'debug' : 'error', text, fields }]
  }

  #isFailing(database: string): boolean {
    return [...this.#failing.keys()].some((key) => key.startsWith(`${database}/`))
  }

  #forget(database: string): void {
    for (const key of this.#failing.keys()) if (key.startsWith(`${database}/`)) this.#failing.delete(key)
  }
}

/** Another tool's change may stay open for some seconds; what keeps a change out for longer a person should see to. Milliseconds. */
const PASSING_MS = 10_000

/** How long the same text stays quiet after it was loud. */
const QUIET_MS = 300_000

/** Of a walk that did what it could: something may be left that it could not. */
const LEVEL_OF = {
  converged: 'debug',
  planned: 'debug',
  changed: 'info',
  refused: 'warn',
  blocked: 'warn',
  unproved: 'warn',
} as const

const LEADERSHIP = {
  leading: 'this instance leads',
  following: 'another instance leads; this one only watches',
  none: 'this instance does not lead, and the leader is unknown',
} as const

function groupsText(groups: readonly number[]): string {
  return groups.length === 1 ? `group ${groups[0]}` : `groups ${groups.join(', ')}`
}

function noticedLine({ database, node, what, detail, ageMs }: Noticed): Line {
  const at = formatAddress(node)
  const fields = { event: 'noticed', database, node: at, what, ageMs }
  return { level: what === 'promoted' ? 'info' : 'debug', text: `${at}: ${what}: ${detail}`, fields }
}

function diagnosedLine(event: Diagnosed): Line {
  const { database, group, rule, code, standing, summary, evidence, was } = event
  const fields = { event: 'diagnosed', database, group, rule, code, standing, was, evidence }
  return { level: levelOf(event), text: `group ${group}: ${code}: ${summary}`, fields }
}

const ERRORS: ReadonlySet<Diagnosed['code']> = new Set([
  'split-brain',
  'lineage-mismatch',
  'less-than-known',
  'no-primary-row',
])

/** What only a person can mend is an error; what a promotion may still mend is a warning. */
function levelOf({ code, standing, was }: Diagnosed): Line['level'] {
  if (ERRORS.has(code)) return 'error'
  if (standing === 'refused' || code === 'read-only' || code === 'old-primary-writes') return 'warn'
  return code === 'healthy' && was === null ? 'debug' : 'info'
}

function heldLine({ database, group, why, would }: Held): Line {
  const level = why === 'paused' || why === 'cooldown' ? 'info' : 'debug'
  const text = `group ${group}: no action (${why}). Would do: ${would.join('; ') || 'nothing'}`
  return { level, text, fields: { event: 'held', database, group, why, would } }
}
