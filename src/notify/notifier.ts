import { hostname } from 'node:os'
import type { Notify } from '../config/notify.ts'
import type { Environment } from '../config/url.ts'
import type { WatchEvent } from '../watch/event.ts'
import { commandDelivery } from './command.ts'
import { notificationOf } from './notification.ts'
import { pagerDutyDelivery } from './pagerduty.ts'
import { Selection } from './selection.ts'
import { slackDelivery } from './slack.ts'
import { Target, type TargetState } from './target.ts'
import { webhookDelivery } from './webhook.ts'

export interface NotifierOptions {
  readonly notify: Notify
  /** The command's. */
  readonly env: Environment
  /** Told, in one line, of what did not arrive. */
  readonly problem: (line: string) => void
  /** Before the second try, in milliseconds. */
  readonly firstRetryMs?: number
}

const FIRST_RETRY_MS = 1000
const FLUSH_MS = 2000

/** Tells others of what a watcher sees and does, without ever keeping the watcher waiting. */
export class Notifier {
  readonly #targets: readonly Target[]
  readonly #selection = new Selection()
  readonly #instance = `${hostname()}:${process.pid}`

  constructor({ notify, env, problem, firstRetryMs = FIRST_RETRY_MS }: NotifierOptions) {
    const { webhooks, slack, pagerduty, command, events, timeout, queue } = notify
    const shared = { limit: queue, firstRetryMs, problem }
    const toWebhooks = webhooks.map((webhook, n) => {
      const name = `webhook ${n + 1} (${new URL(webhook.url.reveal()).host})`
      return new Target({
        ...shared,
        name,
        events: webhook.events,
        deliver: webhookDelivery(webhook, timeout),
      })
    })
    // Whose address is a secret is named by its place alone.
    const toSlack = slack.map((each, n) => {
      const deliver = slackDelivery(each, timeout)
      return new Target({ ...shared, name: `slack ${n + 1}`, events: each.events, deliver })
    })
    const toPagerDuty = pagerduty.map((each, n) => {
      const deliver = pagerDutyDelivery(each, timeout)
      return new Target({ ...shared, name: `pagerduty ${n + 1}`, events: each.events, deliver })
    })
    const deliver = command && commandDelivery(command, timeout, env)
    this.#targets = [
      ...toWebhooks,
      ...toSlack,
      ...toPagerDuty,
      ...(deliver ? [new Target({ ...shared, name: 'command', events, deliver })] : []),
    ]
  }

  get states(): TargetState[] {
    return this.#targets.map(({ state }) => state)
  }

  /** Returns at once. */
  told(event: WatchEvent): void {
    for (const each of this.#selection.of(event)) {
      const notification = notificationOf(each, this.#instance)
      for (const target of this.#targets) target.offer(notification)
    }
  }

  /** What waits is given two seconds. */
  async stop(): Promise<void> {
    await Promise.all(this.#targets.map((target) => target.stop(FLUSH_MS)))
  }
}
