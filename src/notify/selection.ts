import { NOTIFIED } from '../config/notify.ts'
import type { Diagnosed, Leadership, WatchEvent } from '../watch/event.ts'
import type { NotifiedEvent } from './notification.ts'

/**
 * Which events are worth telling: of several instances that see the same, only the one that leads tells of it; a group
 * that is well at first is no news; a change that fails again and again is told of once.
 */
export class Selection {
  readonly #leadership = new Map<string, Leadership>()
  /** What an instance that followed saw and did not tell, by database and group: the leader may have died with it. */
  readonly #untold = new Map<string, Diagnosed>()

  /** What is to be told now, oldest first. */
  of(event: WatchEvent): NotifiedEvent[] {
    if (!isNotified(event)) return []
    switch (event.kind) {
      case 'leadership':
        this.#leadership.set(event.database, event.now)
        return event.now === 'leading' ? [event, ...this.#takeUntold(event.database)] : [event]
      case 'acted':
        return event.failures <= 1 ? [event] : []
      case 'diagnosed':
        return this.#diagnosed(event)
      default:
        return this.#follows(event.database) ? [] : [event]
    }
  }

  #diagnosed(event: Diagnosed): Diagnosed[] {
    const key = `${event.database}/${event.group}`
    this.#untold.delete(key)
    if (event.code === 'healthy' && event.was === null) return []
    if (!this.#follows(event.database)) return [event]
    if (event.code !== 'healthy') this.#untold.set(key, event)
    return []
  }

  #follows(database: string): boolean {
    return this.#leadership.get(database) === 'following'
  }

  #takeUntold(database: string): Diagnosed[] {
    const taken = [...this.#untold.values()].filter((event) => event.database === database)
    for (const { group } of taken) this.#untold.delete(`${database}/${group}`)
    return taken
  }
}

function isNotified(event: WatchEvent): event is NotifiedEvent {
  return (NOTIFIED as readonly string[]).includes(event.kind)
}
