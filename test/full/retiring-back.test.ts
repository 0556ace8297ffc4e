import { once } from 'node:events'
import { type AddressInfo, createServer, connect as dial } from 'node:net'
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import { daemonRuns, keysOf, standin } from '../support/clients.ts'
import { restoredBeforeEach, type Switching } from '../support/switching.ts'

const LONG_MS = 300_000
/** As if it had not been retired. */
const UNRETIRED = `BEGIN READ WRITE; UPDATE pg_dist_local_group SET groupid = groupid - 1000000000;
  DELETE FROM citus_ha.retired; DELETE FROM pg_dist_poolinfo; COMMIT`
describe.skipIf(standin)('an old primary that a person goes back to while it is to be retired', () => {
  let switching: Switching
  restoredBeforeEach(
    (made) => {
      switching = made
    },
    { coordinatorStandbys: [] },
  )

  it(
    'is not retired once it is the primary again',
    async () => {
      const { scenario } = switching
      const { database } = scenario.cluster
      const old = switching.server('worker-1')
      let isHeld = false
      let goOn = (): void => undefined
      const over = new Promise<void>((resolve) => {
        goOn = resolve
      })
      // The first message that locks the shards there takes as long as the other run.
      const slow = createServer((socket) => {
        const upstream = dial(old.port, old.host)
        for (const each of [socket, upstream]) {
          each.on('error', () => undefined)
          each.on('close', () => [socket, upstream].forEach((one) => void one.destroy()))
        }
        upstream.pipe(socket)
        socket.on('data', (data) => {
          if (!isRetiring || isHeld || !data.toString('latin1').includes('citus_ha.lock_shards()'))
            return void upstream.write(data)
          isHeld = true
          void over.then(() => upstream.write(data))
        })
      }).listen(0, '127.0.0.1')
      let isRetiring = false
      await once(slow, 'listening')
      const at = `127.0.0.1:${(slow.address() as AddressInfo).port}`
      const [host, port] = at.split(':')
      await daemonRuns(scenario.cluster.coordinator, database)
      await scenario.cluster.coordinator.query(`SELECT citus_update_node(2, '${host}', ${port})`, [], {
        database,
      })
      await scenario.install('--switchover')
      await switching.switched('--group', '1')
      await old.query(UNRETIRED, [], { database })
      for (const setting of ['default_transaction_read_only', 'citus.recover_2pc_interval'])
        await old.query(`ALTER SYSTEM RESET ${setting}`)
      await old.reload()
      const config = await scenario.configFile({ apply: { lockTimeout: '20s' } })
      isRetiring = true
      const retiring = scenario.run('reconcile', '--config', config)
      await waitUntil('it is about to lock its shards', () => isHeld)
      const back = await scenario.run('reconcile', '--promoted', at)
      goOn()
      const ran = await retiring
      expect(back.exitCode, back.stdout + back.stderr).toBe(0)
      const [row] = await old.query<{ groupid: number }>('SELECT groupid FROM pg_dist_local_group', [], {
        database,
      })
      const rows = await scenario.rows(switching.server('coordinator'))
      expect(rows).toContain(`2 group 1 primary ${at}`)
      expect(row?.groupid, `${ran.exitCode} ${ran.stdout} ${ran.stderr}`).toBe(1)
      const [id] = await keysOf(scenario.cluster, 1, 500_000, 501_000)
      await switching.server('coordinator').query(`INSERT INTO items VALUES (${id}, 'x')`, [], { database })
      slow.close()
    },
    LONG_MS,
  )
})
