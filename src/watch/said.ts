import { formatAddress } from '../model/node.ts'
import { type Remark, remark } from '../model/remark.ts'
import type { WatchEvent } from './event.ts'

const PROGRESS_LENGTH = 300

/** An event in one sentence, with what it is about: the same for notices, `/v1/events` and whoever else tells of it. */
export function saidOf(event: WatchEvent): Remark {
  switch (event.kind) {
    case 'noticed':
      return remark(`node-${event.what}`, `${formatAddress(event.node)}: ${event.what}: ${event.detail}`, {
        node: event.node,
      })
    case 'diagnosed': {
      const { database, group, code, rule, summary } = event
      return remark(code, `${database}: group ${group} is ${code} (${rule}): ${summary}`, { group })
    }
    case 'acted': {
      const { report, groups } = event
      const rows = report.changes.map(({ kind, from, to }) => `${kind} ${from} -> ${to}`)
      const refusals = report.refusals.map(({ group, summary }) => `group ${group}: ${summary}`)
      const isOpen = report.outcome === 'blocked' || report.outcome === 'unproved'
      const details = [...rows, ...refusals, ...(isOpen ? [report.reason.text] : [])].join('; ')
      const [only = null, ...more] = groups
      const scope = `group${groups.length === 1 ? '' : 's'} ${groups.join(', ')}`
      const text = `${report.database}: ${scope}: ${report.outcome}${details === '' ? '' : `: ${details}`}`
      const { code, node } = report.reason
      return remark(code, text, { group: more.length === 0 ? only : null, node })
    }
    case 'held': {
      const { database, group, why, would } = event
      const text = `${database}: group ${group}: no action (${why}). Would do: ${would.join('; ')}`
      return remark(`held-${why}`, text, { group })
    }
    case 'failed':
      return remark('turn-failed', `${event.database}: ${event.message.split('\n')[0]}`)
    case 'leadership': {
      const { database, now, why } = event
      const text = `${database}: this instance is ${now}${why === null ? '' : `: ${why}`}`
      return remark(`leadership-${now}`, text)
    }
    case 'coordinator': {
      const { database, node, why } = event
      const at = node === null ? 'no coordinator' : `coordinator ${formatAddress(node)}`
      return remark(node === null ? 'no-coordinator' : 'coordinator', `${database}: ${at}: ${why}`, { node })
    }
    case 'database':
      return remark(`database-${event.now}`, `${event.database}: the database is ${event.now}`)
    case 'fence': {
      const { database, group, now, detail } = event
      return remark(`fence-${now}`, `${database}: group ${group}: fence ${now}: ${detail}`, { group })
    }
    case 'progress':
      // The line itself is in the event.
      return remark('progress', `${event.database}: ${event.line}`.slice(0, PROGRESS_LENGTH))
  }
}
