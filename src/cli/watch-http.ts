import type { HostPort } from '../model/node.ts'
import type { TargetState } from '../notify/target.ts'
import type { WatchState } from '../watch/state.ts'
import { packageVersion } from './version.ts'

/** Where a watcher answers over HTTP. */
export interface Door {
  /** As asked for; the port may be 0. */
  readonly asked: HostPort
  readonly address: HostPort
  readonly metrics: import('../http/metrics.ts').Metrics
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
  const { address, close } = await serve({ listen, states, metrics, problem })
  return { asked: listen, address, metrics, close }
}
