import type { WatchEvent } from '../watch/event.ts'
import { WatchService } from '../watch/service.ts'
import { CLUSTER_OPTIONS, type ClusterOptions, loaded, signalOf } from './cluster.ts'
import { FUNCTION, type Kinds, requireOptions } from './options.ts'

export interface WatchOptions extends ClusterOptions {
  /** Told each thing when it happens, at once: it should return at once, too. */
  readonly onEvent?: (event: WatchEvent) => void
}

const OPTIONS: Kinds<WatchOptions> = { ...CLUSTER_OPTIONS, onEvent: FUNCTION }

/**
 * Notices promotions by whomever, and reconciles at once, until the signal. Any number of instances may run; one leads.
 * Nothing listens over HTTP, and nobody is notified: that is the caller's part.
 * @returns after the signal, when a change under way is finished or rolled back and every connection is closed
 * @throws CitusHaError `usage` or `configuration`; what is a bug. A cluster that can't be reached is no error: it is waited for
 */
export async function watch(options: WatchOptions): Promise<void> {
  requireOptions(options, OPTIONS)
  const { onEvent } = options
  const { config, env, database, log } = await loaded(options)
  const tell = (event: WatchEvent) => {
    if (event.kind === 'progress') log.info(event.line)
    if (event.kind === 'failed') log.warn(event.message)
    try {
      onEvent?.(event)
    } catch (error) {
      // A listener that fails must not end a change in its middle.
      log.warn(`onEvent failed: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  await new WatchService({ config, database, env, tell }).run(signalOf(options))
}
