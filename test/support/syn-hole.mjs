// Takes a port and answers nobody: with its queue of connections full, the kernel drops every further SYN, as on a machine
// whose packets are dropped. Usage: node syn-hole.mjs HOST PORT. Says "full" when it is.
import { connect, createServer } from 'node:net'

const [host, port] = process.argv.slice(2)
const server = createServer()
server.listen({ host, port: Number(port), backlog: 1 }, () => {
  // Nothing is accepted any more while this thread waits below; the kernel takes what fits into the queue.
  const sockets = Array.from({ length: 4 }, () => connect(Number(port), host).on('error', () => {}))
  // After the SYNs were sent.
  setImmediate(() => {
    process.stdout.write('full\n')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    sockets.length = 0
  })
})
