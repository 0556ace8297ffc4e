import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'

/** One request as it came. */
export interface Received {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** `performance.now()` */
  readonly at: number
}

/** What to answer; `hang`: nothing. */
export type Reply =
  | number
  | 'hang'
  | 'break'
  | { readonly status: number; readonly headers: Record<string, string> }

/** A web server that somebody else runs, as far as it matters here. */
export class Receiver {
  readonly received: Received[] = []
  /** Asked for each request. */
  reply: (received: Received) => Reply = () => 204
  readonly url: string
  readonly #server: Server

  private constructor(server: Server, url: string) {
    this.#server = server
    this.url = url
  }

  static async start(): Promise<Receiver> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const bound = server.address()
    const port = typeof bound === 'object' && bound ? bound.port : 0
    const receiver = new Receiver(server, `http://127.0.0.1:${port}`)
    server.on('request', (request, response) => {
      let body = ''
      request.setEncoding('utf8').on('data', (text: string) => {
        body += text
      })
      request.on('end', () => {
        const received = { path: request.url ?? '', headers: request.headers, body, at: performance.now() }
        receiver.received.push(received)
        const reply = receiver.reply(received)
        if (reply === 'hang') return
        if (reply === 'break') return void request.socket.destroy()
        if (typeof reply === 'number') response.writeHead(reply).end('so be it')
        else response.writeHead(reply.status, reply.headers).end()
      })
    })
    return receiver
  }

  /** The documents that came, in order. */
  get documents(): { id: string; event: string; text: string; data: Record<string, unknown> }[] {
    return this.received.map(({ body }) => JSON.parse(body))
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
