import type { Lock } from './locks.ts'
import { numbers, strings } from './sql.ts'
import type { Handler } from './statements.ts'

/** What clients of the database make Citus do, on the node where they come in and on the one that has the shard. */
export const CLIENTS: readonly (readonly [string, Handler])[] = [
  // Planned here, for a shard of that group: the lock on its metadata that a fence takes as well.
  [
    'app.plan(',
    async (backend, sql) => {
      backend.requireWritable()
      const group: Lock = `writes:${numbers(sql)[0] ?? 0}`
      await backend.lock(group, 'shared')
      return []
    },
  ],
  ['app.read(', () => []],
  [
    'app.write(',
    async (backend, sql) => {
      const [id = 0] = numbers(sql)
      backend.requireWritable()
      await backend.lock('shards', 'shared')
      backend.write((now) => ({ ...now, client: [...now.client, id] }))
      return []
    },
  ],
  [
    'app.record(',
    async (backend, sql) => {
      const gids = strings(sql)
      await backend.lock('pg_dist_transaction', 'shared')
      backend.write((now) => ({ ...now, records: [...now.records, ...gids] }))
      return []
    },
  ],
]
