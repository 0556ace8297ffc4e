import type { Notify } from '../config/notify.ts'
import { Secret } from '../config/secret.ts'
import type { Environment } from '../config/url.ts'
import type { Notifier } from '../notify/notifier.ts'
import type { TargetState } from '../notify/target.ts'
import type { WatchEvent } from '../watch/event.ts'
import type { WatchLog } from '../watch/log.ts'

/** Whom a watcher tells, as the configuration says at each moment. */
export class Notices {
  readonly #env: Environment
  readonly #log: WatchLog
  #now: { readonly is: string; readonly notifier: Notifier } | null = null
  /** Those of earlier configurations, with what is left for them to say. */
  readonly #retired = new Set<Promise<void>>()

  constructor(env: Environment, log: WatchLog) {
    this.#env = env
    this.#log = log
  }

  get states(): TargetState[] {
    return this.#now?.notifier.states ?? []
  }

  /** What is the same as before goes on as it was, with all that waits. */
  async follow(notify: Notify | null): Promise<void> {
    const is = notify === null ? '' : fingerprint(notify)
    if (is === (this.#now?.is ?? '')) return
    // Loaded here: where nobody is told, nobody should pay for it.
    const { Notifier } = await import('../notify/notifier.ts')
    const problem = (line: string) => this.#log.say('warn', line)
    this.#retire()
    this.#now = notify && { is, notifier: new Notifier({ notify, env: this.#env, problem }) }
  }

  told(event: WatchEvent): void {
    this.#now?.notifier.told(event)
  }

  /** Gives what waits a moment, and no more. */
  async close(): Promise<void> {
    this.#retire()
    await Promise.all(this.#retired)
  }

  #retire(): void {
    if (!this.#now) return
    const stopping = this.#now.notifier.stop().finally(() => this.#retired.delete(stopping))
    this.#retired.add(stopping)
    this.#now = null
  }
}

/** Equal for two that tell the same to the same; it holds their secrets, and is shown to nobody. */
function fingerprint(notify: Notify): string {
  return JSON.stringify(notify, function (this: Record<string, unknown>, key, value: unknown) {
    // By itself a secret is shown as nothing but stars.
    const given = this[key]
    return given instanceof Secret ? given.reveal() : value
  })
}
