import { join } from 'node:path'
import type { PortPool } from '../../../src/demo/ports.ts'
import { waitUntil } from '../../../src/demo/wait.ts'
import { Tool, tell, type Workshop } from './process.ts'

/** One etcd server on loopback, as Patroni's store. */
export class Etcd {
  readonly port: number
  readonly tool: Tool
  readonly #shop: Workshop

  private constructor(shop: Workshop, port: number, tool: Tool) {
    this.#shop = shop
    this.port = port
    this.tool = tool
  }

  /** Starts it, and waits until it answers. */
  static async start(shop: Workshop, ports: PortPool): Promise<Etcd> {
    const [client, peer] = [await ports.take(), await ports.take()]
    const own = ['--name', 'e', '--data-dir', join(shop.directory, 'etcd'), '--log-level', 'warn']
    const listen = ['--listen-client-urls', url(client), '--advertise-client-urls', url(client)]
    const peers = ['--listen-peer-urls', url(peer), '--initial-advertise-peer-urls', url(peer)]
    const cluster = ['--initial-cluster', `e=${url(peer)}`]
    const tool = Tool.start(shop, 'etcd', 'etcd', [...own, ...listen, ...peers, ...cluster])
    try {
      await waitUntil('etcd answers', async () => (await fetch(`${url(client)}/health`)).ok)
      return new Etcd(shop, client, tool)
    } catch (error) {
      await tool.stop()
      throw error
    }
  }

  async put(key: string, value: string): Promise<void> {
    await tell(this.#shop, 'etcdctl', '--endpoints', url(this.port), 'put', key, value)
  }
}

function url(port: number): string {
  return `http://127.0.0.1:${port}`
}
