// Loaded before the program (--import): answers its parent with what this process holds, after garbage collection.
import { readdirSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc')

process.on('message', () => {
  collect()
  const { rss, heapUsed } = process.memoryUsage()
  const resources = process.getActiveResourcesInfo()
  process.send({ rss, heapUsed, files: readdirSync('/proc/self/fd').length, resources: resources.length })
})
process.channel.unref()
