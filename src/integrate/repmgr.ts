import { misused, type Word } from './word.ts'

/** Events of a node that has become a primary; it records them itself (repmgr's manual, "Event Notifications"). */
const PROMOTIONS = new Set(['standby_promote', 'repmgrd_failover_promote', 'standby_switchover'])

/**
 * `%n %e %s %t %d`, and more that is not read: node id, event, success, time and details of an
 * `event_notification_command`.
 * @throws CitusHaError where these are not an event's arguments
 */
export function readRepmgr(args: readonly string[]): Word {
  const [id = '', event = '', success = '', , details = ''] = args
  if (args.length < 3 || !/^-?\d+$/.test(id) || !/^[01]$/.test(success))
    throw misused('repmgr', `%n %e %s "%t" "%d"`, args)
  const says = `repmgr node ${id}: ${event}${success === '1' ? '' : ' failed'}`
  if (!PROMOTIONS.has(event) || success !== '1') return { kind: 'unconcerned', says }
  return { kind: 'promoted', names: [...nameIn(details, id), id], address: null, says }
}

/** `server "w1b" (ID: 2) was successfully promoted to primary`: the name that stands beside the id. */
function nameIn(details: string, id: string): string[] {
  const found = [...details.matchAll(/"([^"]+)" \(ID: (\d+)\)/g)].find((match) => match[2] === id)
  return found?.[1] === undefined ? [] : [found[1]]
}
