// An instance that leads or follows, in a process of its own, from the build. Argument: a JSON object. Tells its parent
// of every change, and after it was stopped what it found out first.
import { setTimeout as delay } from 'node:timers/promises'
import { Session } from '../../dist/db/pg.js'
import { resolveTarget } from '../../dist/db/target.js'
import { Lead } from '../../dist/watch/leadership.js'

const { at, database, intervalMs } = JSON.parse(process.argv[2])
const open = async (address) =>
  await Session.open(await resolveTarget(address, database, { user: 'citus_ha' }, {}))
const lead = new Lead({ open, intervalMs })

/** What `work` gave, and whether this process was stopped meanwhile. */
async function watched(work) {
  const began = performance.now()
  const value = await work()
  return { value, stopped: performance.now() - began > 2 * intervalMs }
}

process.on('disconnect', () => process.exit())
for (let last = ''; ; ) {
  const held = await watched(() => lead.hold(at))
  if (held.stopped) process.send({ wokeLeading: held.value === 'leading' })
  if (held.value !== last) process.send({ now: held.value })
  last = held.value
  const { stopped } = await watched(() => delay(intervalMs / 2))
  if (stopped) process.send({ wokeLeading: await lead.stillLeads() })
}
