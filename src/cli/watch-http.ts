import type { Page } from '../http/page.ts'
import type { HostPort } from '../model/node.ts'
import type { TargetState } from '../notify/target.ts'
import type { WatchEvent } from '../watch/event.ts'
import type { WatchState } from '../watch/state.ts'
import { packageVersion } from './version.ts'

/** Where a watcher answers over HTTP. */
export interface Door {
  /** As asked for; the port may be 0. */
  readonly asked: HostPort
  readonly address: HostPort
  /** For the metrics, and for whoever looks at the page. */
  told(event: WatchEvent): void
  /** Shows the page from now on; null: none. */
  show(page: Page | null): void
  close(): Promise<void>
}

interface Behind {
  readonly states: () => readonly WatchState[]
  readonly notifications: () => readonly TargetState[]
  /** Told, in one line, of a request that failed for a reason of ours. */
  readonly problem: (line: string) => void
}

/** @throws CitusHaError where nothing can listen there */
export async function openDoor(listen: HostPort, { states, notifications, problem }: Behind): Promise<Door> {
  // Loaded here: without HTTP nobody should pay for it.
  const [{ Metrics }, { serve }] = await Promise.all([
    import('../http/metrics.ts'),
    import('../http/serve.ts'),
  ])
  const metrics = await Metrics.open({ states, notifications, version: packageVersion() })
  const { address, show, told, close } = await serve({ listen, states, metrics, problem })
  return {
    asked: listen,
    address,
    show,
    told: (event) => {
      metrics.told(event)
      told(event)
    },
    close,
  }
}

/**
 * The page as it is to be shown under these names: the one that is open already, with what it has been told, or a new one.
 * @throws CitusHaError where it can't be read
 */
export async function pageUnder(names: readonly string[], open: Page | null): Promise<Page> {
  if (open) return open
  // Loaded here: without the page nobody should pay for it.
  const { Page: Opened } = await import('../http/page.ts')
  return await Opened.open(names)
}
