import { redact } from '../config/redact.ts'
import { formatAddress } from '../model/node.ts'
import type { WatchState } from './state.ts'

/** Whether the loop of one database turns. */
export interface Loop {
  readonly database: string
  readonly turnedMsAgo: number
  readonly turnLimitMs: number
  readonly turns: boolean
}

/** Nothing is watched yet, or any more: then nothing is stuck. */
export function loops(states: readonly WatchState[]): Loop[] {
  return states.map(({ database, turnedMsAgo, turnLimitMs }) => ({
    database,
    turnedMsAgo: Math.round(turnedMsAgo),
    turnLimitMs,
    turns: turnedMsAgo <= turnLimitMs,
  }))
}

export function allTurn(states: readonly WatchState[]): boolean {
  return loops(states).every(({ turns }) => turns)
}

/** Whether one database is looked after: this instance leads, or somebody who does his work, and it sees the coordinator. */
export interface Readiness {
  readonly database: string
  readonly leadership: WatchState['leadership']
  readonly coordinator: string | null
  /** null: it is looked after. */
  readonly why: string | null
}

export function readiness(states: readonly WatchState[]): Readiness[] {
  return states.map((state) => {
    const { database, leadership, coordinator } = state
    const at = coordinator === null ? null : formatAddress(coordinator)
    return { database, leadership, coordinator: at, why: whyNotReady(state) }
  })
}

function whyNotReady({ leadership, coordinator, failure, undone }: WatchState): string | null {
  if (coordinator === null) return firstLine(failure) ?? 'no coordinator was found yet'
  if (leadership === 'none') return 'it neither leads nor follows yet'
  return firstLine(undone)
}

/** Nothing is ready where nothing is watched. */
export function allReady(states: readonly WatchState[]): boolean {
  return states.length > 0 && readiness(states).every(({ why }) => why === null)
}

/** For people, without what follows (a stack, a hint) and without passwords. */
export function firstLine(text: string | null): string | null {
  return text === null ? null : (redact(text).split('\n')[0] ?? '')
}

const SHOWN = 3

/** Everything in one line, for a service manager; what is wrong first. */
export function summarize(states: readonly WatchState[]): string {
  if (states.length === 0) return 'no database is watched yet'
  const wrong = states.flatMap((state) => wrongIn(state).map((text) => `${state.database}: ${text}`))
  const more = wrong.length > SHOWN ? [`${wrong.length - SHOWN} more`] : []
  return [...wrong.slice(0, SHOWN), ...more, ...counts(states)].join('; ')
}

function wrongIn(state: WatchState): string[] {
  if (state.turnedMsAgo > state.turnLimitMs) return ['the watch loop hangs']
  const why = whyNotReady(state)
  const groups = state.groups
    .filter(({ code }) => code !== 'healthy')
    .map(({ group, code, rule }) => `group ${group} ${code} (${rule})`)
  const failure = why === null ? firstLine(state.failure) : null
  return [...(why === null ? [] : [why]), ...(failure === null ? [] : [failure]), ...groups]
}

function counts(states: readonly WatchState[]): string[] {
  const led = states.filter(({ leadership }) => leadership === 'leading').length
  const followed = states.filter(({ leadership }) => leadership === 'following').length
  const groups = states.reduce((sum, state) => sum + state.groups.length, 0)
  const of = (count: number, word: string) => `${count} ${word}${count === 1 ? '' : 's'}`
  return [
    ...(led > 0 ? [`leading ${of(led, 'database')}`] : []),
    ...(followed > 0 ? [`following ${of(followed, 'database')}`] : []),
    of(groups, 'group'),
  ]
}
