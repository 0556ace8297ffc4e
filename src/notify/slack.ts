import { type Slack, webAddressProblem } from '../config/notify.ts'
import { readSecret } from '../config/secret-file.ts'
import type { Notification, Urgency } from './notification.ts'
import { postDelivery } from './post.ts'

/** Of one text in a block, in characters (Slack: Block Kit, section and context). */
const LONGEST = 3000

/** Sends notifications to an incoming webhook of Slack (docs.slack.dev, "Sending messages using incoming webhooks"). Never throws. */
export function slackDelivery({ url }: Slack, timeoutMs: number) {
  const compose = async (notification: Notification) => ({
    url: (await readSecret(url, webAddressProblem)).reveal(),
    body: JSON.stringify(slackMessage(notification)),
  })
  return postDelivery(compose, timeoutMs)
}

/** The sentence alone for a notification on a phone; in the channel, who says it as well. */
export function slackMessage({ event, document, urgency }: Notification): object {
  const { text, instance, at } = document
  const told = `${event}, from ${instance}, ${at}`
  return {
    // Of the two texts this is the one in which `<!channel>` would be a command (Slack: "Escaping text").
    text: escaped(text).slice(0, LONGEST),
    blocks: [
      { type: 'section', text: plain(`${MARKS[urgency]} ${text}`) },
      { type: 'context', elements: [plain(told)] },
    ],
  }
}

const plain = (text: string) => ({ type: 'plain_text', text: text.slice(0, LONGEST), emoji: true })

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

const MARKS: Readonly<Record<Urgency, string>> = {
  critical: ':red_circle:',
  warning: ':large_yellow_circle:',
  good: ':large_green_circle:',
  info: ':white_circle:',
}
