import { misused, type Word } from './word.ts'

const ACTIONS = new Set(['on_reload', 'on_restart', 'on_role_change', 'on_start', 'on_stop'])
/** After which its node is what it says; a Patroni that was restarted beside a running primary says so by `on_start`. */
const STANDS = new Set(['on_restart', 'on_role_change', 'on_start'])
/** `primary` from Patroni 4 on. A `standby_leader` is in recovery. */
const LEADERS = new Set(['master', 'primary', 'promoted'])

/**
 * A callback: `ACTION ROLE SCOPE` (Patroni's manual, "YAML Configuration Settings", callbacks). It runs on the node
 * that it is about, while the promotion may still be running. It calls a node a primary only while that holds the leader key.
 * @throws CitusHaError where these are not a callback's arguments
 */
export function readPatroni(args: readonly string[]): Word {
  const [action = '', role = '', scope] = args
  if (scope === undefined || args.length !== 3 || !ACTIONS.has(action))
    throw misused('patroni', 'ACTION ROLE SCOPE, as Patroni appends them', args)
  const says = `Patroni ${scope}: ${action} ${role}`
  if (!STANDS.has(action) || !LEADERS.has(role)) return { kind: 'unconcerned', says }
  return { kind: 'promoted', names: [], address: null, says }
}
