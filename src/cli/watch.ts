import { loadConfig } from '../config/load.ts'
import { resolveTarget } from '../db/target.ts'
import type { WatchEvent } from '../watch/event.ts'
import { WatchService } from '../watch/service.ts'
import type { ClusterOptions } from './cluster.ts'
import type { Io } from './io.ts'

interface ServeOptions extends ClusterOptions {
  readonly logLevel?: string
}

/** Watches until the signal of `io`; at SIGHUP with the configuration as it is then. */
export async function serveWatch(options: ServeOptions, io: Io): Promise<void> {
  const tell = (event: WatchEvent) =>
    void io.stderr.write(`${JSON.stringify(event, (_, v) => (typeof v === 'bigint' ? `${v}` : v))}\n`)
  const config = await loadConfig({
    env: io.env,
    ...(options.config === undefined ? {} : { file: options.config }),
    ...(options.coordinator === undefined ? {} : { coordinators: options.coordinator }),
  })
  const [first] = config.coordinators
  if (!first) throw new Error('a loaded configuration has a coordinator')
  const target = await resolveTarget(first.address, first.database, first.settings, io.env)
  const service = new WatchService({
    config,
    database: target.database,
    env: io.env,
    tell,
    ...(io.hooks && { hooks: io.hooks }),
  })
  await service.run(io.signal)
}
