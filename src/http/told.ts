import { formatAddress, type HostPort } from '../model/node.ts'
import { type Remark, remark } from '../model/remark.ts'
import type { WatchEvent } from '../watch/event.ts'
import { firstLine } from '../watch/health.ts'
import { saidOf } from '../watch/said.ts'
import { scrubbed } from '../watch/scrub.ts'

type Of<Kind extends WatchEvent['kind']> = Extract<WatchEvent, { kind: Kind }>
type Report = Of<'acted'>['report']

/** Of a change that has not come through: how many sessions, or prepared transactions, kept it from its locks, and where. */
interface InTheWay {
  readonly node: string
  readonly count: number
}

/**
 * What `/events` tells of an event: the fields of `/v1/events` that `/status` may tell as well. Sessions of clients are
 * counted, and not described; who leads elsewhere is left out.
 */
export type Told = {
  /** ISO 8601. */
  readonly at: string
  readonly database: string
  readonly remark: Remark
} & (
  | (Pick<Of<'noticed'>, 'kind' | 'what' | 'detail'> & {
      readonly node: string
      /** null: it was in none, by the last survey. */
      readonly group: number | null
    })
  | Pick<Of<'diagnosed'>, 'kind' | 'group' | 'rule' | 'code' | 'standing' | 'summary' | 'evidence' | 'was'>
  | (Pick<Of<'acted'>, 'kind' | 'groups' | 'stages' | 'failures'> &
      Pick<Report, 'outcome' | 'epoch' | 'changes'> & { readonly inTheWay: readonly InTheWay[] })
  | Pick<Of<'held'>, 'kind' | 'group' | 'why' | 'would'>
  | Pick<Of<'failed'>, 'kind' | 'message'>
  | Pick<Of<'leadership'>, 'kind' | 'now'>
  | (Pick<Of<'coordinator'>, 'kind' | 'why'> & { readonly node: string | null })
  | Pick<Of<'database'>, 'kind' | 'now'>
  | Pick<Of<'fence'>, 'kind' | 'group' | 'now'>
)

/**
 * @param at ISO 8601
 * @param groupOf of a server, by the last survey; null: of none
 * @returns null for lines of progress: they may name sessions of clients
 */
export function toldOf(event: WatchEvent, at: string, groupOf: GroupOf): Told | null {
  const told = fieldsOf(event, groupOf)
  return told && (scrubbed({ at, ...told }) as Told)
}

export type GroupOf = (database: string, node: HostPort) => number | null

function fieldsOf(event: WatchEvent, groupOf: GroupOf) {
  switch (event.kind) {
    case 'noticed': {
      const { kind, database, what, detail } = event
      const about = { node: formatAddress(event.node), group: groupOf(database, event.node) }
      return { kind, database, remark: saidOf(event), ...about, what, detail }
    }
    case 'diagnosed': {
      const { kind, database, group, rule, code, standing, summary, evidence, was } = event
      const fields = { group, rule, code, standing, summary, evidence, was }
      return { kind, database, remark: saidOf(event), ...fields }
    }
    case 'acted': {
      const { kind, groups, stages, failures } = event
      const { database, outcome, epoch, changes, blockers } = event.report
      const fields = { groups, stages, failures, outcome, epoch, changes, inTheWay: countOf(blockers) }
      return { kind, database, remark: saidOf(event), ...fields }
    }
    case 'held': {
      const { kind, database, group, why, would } = event
      return { kind, database, remark: saidOf(event), group, why, would }
    }
    case 'failed': {
      const { kind, database, message } = event
      return { kind, database, remark: saidOf(event), message: firstLine(message) ?? '' }
    }
    case 'leadership': {
      const { kind, database, now } = event
      return { kind, database, remark: saidOf({ ...event, why: null }), now }
    }
    case 'coordinator': {
      const { kind, database, node, why } = event
      return { kind, database, remark: saidOf(event), node: node && formatAddress(node), why }
    }
    case 'database': {
      const { kind, database, now } = event
      return { kind, database, remark: saidOf(event), now }
    }
    case 'fence': {
      const { kind, database, group, now } = event
      const said = `${database}: group ${group}: ${now === 'held' ? 'its writes are held' : 'its writes continue'}`
      return { kind, database, remark: remark(`fence-${now}`, said, { group }), group, now }
    }
    case 'progress':
      return null
  }
}

function countOf(blockers: Report['blockers']): InTheWay[] {
  const nodes = blockers.map(({ node }) => formatAddress(node))
  return [...new Set(nodes)].map((node) => ({ node, count: nodes.filter((each) => each === node).length }))
}
