import { createSocket, type Socket } from 'node:dgram'
import { createServer } from 'node:net'

// Below the ephemeral range of Linux (32768) and macOS (49152): there an outgoing connection could take the
// port of a server that is stopped for a moment.
const LOWEST = 20_000
const HIGHEST = 32_000

/**
 * Free TCP ports on the loopback address, held for this process until `release`.
 * The hold is a bound UDP socket of the same number: other clusters of this library, also in other processes,
 * leave the port alone while its server is down, and nothing is left behind by a process that dies.
 */
export class PortPool {
  readonly #held = new Map<number, Socket>()

  /** @throws Error when no free port was found. */
  async take(): Promise<number> {
    for (let attempt = 0; attempt < 500; attempt++) {
      const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST))
      const hold = await holdUdp(port)
      if (!hold) continue
      if (await isTcpFree(port)) {
        this.#held.set(port, hold)
        return port
      }
      hold.close()
    }
    throw new Error(`no free TCP port between ${LOWEST} and ${HIGHEST}`)
  }

  release(): void {
    for (const socket of this.#held.values()) socket.close()
    this.#held.clear()
  }
}

function holdUdp(port: number): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = createSocket({ type: 'udp4' })
    socket.once('error', () => {
      socket.close()
      resolve(null)
    })
    socket.bind({ port, address: '127.0.0.1', exclusive: true }, () => {
      socket.removeAllListeners('error')
      socket.on('error', () => {})
      socket.unref()
      resolve(socket)
    })
  })
}

function isTcpFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}
