// Holds a fence in a process of its own, from the build, until it is ended. Argument: a JSON object with the URLs of the
// coordinators, the database, the group and the time limit. Tells its parent what came of it.
import { loadConfig } from '../../dist/config/load.js'
import { Connections } from '../../dist/walk/connections.js'
import { holdFence } from '../../dist/walk/fence.js'
import { requestFor } from '../../dist/walk/request.js'

const { coordinators, database, group, ttlMs } = JSON.parse(process.argv[2])
const config = await loadConfig({ env: {}, coordinators })
const request = requestFor(config, database, {
  signal: new AbortController().signal,
  progress: () => undefined,
})
const wanted = { groups: [group], ttlMs, reach: 'writes' }
const { report } = await holdFence(new Connections(config, {}), request, wanted)
process.on('disconnect', () => process.exit())
process.send(report)
