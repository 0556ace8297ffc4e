import type { Control } from '../config/control.ts'
import type { ControlActions } from '../http/control/actions.ts'
import type { ControlListener } from '../http/control/serve.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { WatchEvent } from '../watch/event.ts'
import type { WatchLog } from '../watch/log.ts'
import type { WatchService } from '../watch/service.ts'
import { packageVersion } from './version.ts'

/** Where a watcher takes orders, as the configuration says at each moment. */
export class ControlDoor {
  readonly #service: () => WatchService | null
  readonly #log: WatchLog
  #open: { readonly listen: HostPort; readonly is: string; readonly listener: ControlListener } | null = null

  constructor(service: () => WatchService | null, log: WatchLog) {
    this.#service = service
    this.#log = log
  }

  /**
   * Opens, closes or opens anew.
   * @throws CitusHaError or ConfigError where that can't be, in one line: then all is as before
   */
  async follow(control: Control | null): Promise<void> {
    if (!control?.listen) return await this.close()
    const { listen } = control
    // Loaded here: without orders nobody should pay for it.
    const { readFiles, serveControl } = await import('../http/control/serve.ts')
    const is = fingerprint(control, await readFiles(control))
    const before = this.#open
    if (before?.is === is) return
    // The files are good: nothing but the address can still be refused, and this one is ours.
    if (before && sameAddress(before.listen, listen)) await this.close()
    const listener = await serveControl({
      control: { ...control, listen },
      actions: () => actionsOf(this.#service()),
      version: packageVersion(),
      done: (line) => this.#log.say('info', line),
      problem: (line) => this.#log.say('error', line),
    })
    if (this.#open) await this.close()
    this.#open = { listen, is, listener }
    const scheme = control.tls ? 'https' : 'http'
    this.#log.say('info', `taking orders at ${scheme}://${formatAddress(listener.address)}`)
  }

  told(event: WatchEvent): void {
    this.#open?.listener.told(event)
  }

  async close(): Promise<void> {
    await this.#open?.listener.close()
    this.#open = null
  }
}

/** Equal for two that would be served in the same way; it holds the token, and is shown to nobody. */
function fingerprint({ listen, token }: Control, files: object | null): string {
  return JSON.stringify([listen, token?.kind === 'text' ? token.secret.reveal() : token?.file, files])
}

function actionsOf(service: WatchService | null): ControlActions | null {
  if (service === null) return null
  const { orders } = service
  return {
    reconcile: (order, asked) => orders.reconcile(order, asked),
    pause: (order, asked) => orders.pause(order, asked),
    history: (limit, asked) => orders.history(limit, asked),
    fence: (order) => service.fence(order),
    release: (order) => service.release(order),
  }
}
