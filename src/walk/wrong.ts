import { byGroup, type Check } from '../doctor/check.ts'
import { CHECKS } from '../doctor/checks.ts'
import { parseGid } from '../model/gid.ts'
import type { Inspection } from '../model/inspection.ts'
import { mend, type Step } from '../model/next-step.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { type Remark, remark } from '../model/remark.ts'
import { distinctServers, instanceAt } from '../model/servers.ts'
import { factsOf } from './facts.ts'
import type { View } from './look.ts'

/** Something that is wrong, with what to do about it. */
export interface Wrong extends Remark {
  readonly step: Step | null
}

/**
 * Checks of doctor that find errors which status tells in its own lines. Whatever else doctor calls an error, and a survey shows
 * by itself, is told by that check: what only a closer look shows, it does not find without one.
 */
export const TOLD_OTHERWISE: Readonly<Record<string, string>> = {
  H010: 'the line of group 0, or no status at all',
  H030: 'the line of the group',
  H031: 'the line of the group',
  H040: 'the line of the group',
  H041: 'a line for each standby',
  H071: '`metadata-differs`; a standby’s copy follows its primary’s by replay',
}

/** In the survey’s own list, what doctor would call an error, too. */
const PROMOTED: ReadonlySet<string> = new Set([
  'another-writes',
  'old-primary-writes',
  'takes-no-writes',
  'writes-hang',
  'can-not-look',
  'schema-not-ours',
])

/** Whether a warning tells of something that is wrong now. */
export const isWrong = ({ code }: Pick<Remark, 'code'>): boolean => PROMOTED.has(code)

/** What a check finds is the same thing as what a remark of one of these codes tells of the same server. */
const SAME: Readonly<Record<string, readonly string[]>> = {
  impostor: ['impostor', 'another-writes'],
  'old-primary-writes': ['old-primary-writes', 'old-primary-runs'],
  'not-installed': ['schema-not-ours', 'takes-no-part'],
}
/** The other way round: the remark says it in one line for all servers, or says more. */
const SAID_BY: Readonly<Record<string, readonly string[]>> = {
  'rights-missing': ['can-not-look'],
  'writes-off': ['takes-no-writes'],
}

/** What doctor calls an error, and this survey shows. Without a remark that one of them says better. Pure. */
export function wrongIn<R extends Remark>(
  view: View,
  remarks: readonly R[],
): { readonly wrong: readonly Wrong[]; readonly told: readonly R[] } {
  const found = [...errorsSeen(view), ...leftPrepared(view)]
  const isAbout = (codes: readonly string[] | undefined, one: Remark, other: Remark) =>
    codes?.includes(other.code) &&
    (other.node === null || one.node === null || isOneServer(view, one.node, other.node))
  const wrong = found.filter((each) => !remarks.some((other) => isAbout(SAID_BY[each.code], each, other)))
  const told = remarks.filter((other) => !wrong.some((each) => isAbout(SAME[each.code], each, other)))
  return { wrong, told }
}

function errorsSeen(view: View): Wrong[] {
  const servers = view.survey.nodes.filter((node): node is Answered => node.kind === 'answered')
  const facts = factsOf(view, distinctServers(servers).map(unlooked), view.given.claims.maxLag)
  const leading = formatAddress(view.coordinator.address)
  const isLeading = (node: HostPort) => isOneServer(view, formatAddress(node), leading)
  const isOwn = ({ severity, id }: Check) => severity === 'error' && TOLD_OTHERWISE[id] === undefined
  return CHECKS.filter(isOwn).flatMap(({ id, code, when }) =>
    byGroup(when(facts)).map(({ group, node, summary, next }): Wrong => {
      const also = code === 'not-installed' && node !== null ? whatFollows(isLeading(node)) : ''
      const text = `${group === null ? '' : `group ${group}: `}${summary}${also} (${id})`
      return { ...remark(code, text, { group, node }), step: next }
    }),
  )
}

/** Of a server whose schema can't be used. What stands in the coordinator's counts for the cluster. */
const whatFollows = (isLeading: boolean): string =>
  isLeading
    ? '; no change is possible, and which pauses and remedies are in force is not known'
    : '; left out of all changes'

/** Only a survey was made of it. */
function unlooked(node: Answered): Inspection {
  const none = { kind: 'unseen', why: 'status does not look' } as const
  return {
    node,
    session: none,
    clock: none,
    prepared: none,
    attached: none,
    managers: none,
    daemons: none,
    slots: none,
    missingRights: none,
    switchoverRights: none,
    pools: none,
    reaches: [],
  }
}

/** As H100, which also sees who owns it, and what it locks. A change that is running is through with it sooner. */
const LEFTOVER_MS = 5_000

function leftPrepared({ survey, given }: View): Wrong[] {
  const servers = survey.nodes.filter(
    (node): node is Answered => node.kind === 'answered' && !node.inRecovery,
  )
  return distinctServers(servers).flatMap(({ address, prepared, oldestPreparedMs, citus }): Wrong[] => {
    const gids = prepared.filter((gid) => parseGid(gid, given.cluster, survey.database) !== null)
    if (gids.length === 0 || (oldestPreparedMs ?? 0) < LEFTOVER_MS) return []
    const age = Math.round((oldestPreparedMs ?? 0) / 1000)
    const text = `${formatAddress(address)}: an interrupted change of citus-ha has been prepared for ${age} s, and blocks writes: ${gids.join(', ')} (H100)`
    const about = { group: citus?.localGroup ?? null, node: address }
    return [{ ...remark('change-left-prepared', text, about), step: mend('citus-ha recover') }]
  })
}

function isOneServer({ survey }: View, one: string, other: string): boolean {
  if (one === other) return true
  const instance = instanceAt(survey.nodes, one)
  return instance !== null && instance === instanceAt(survey.nodes, other)
}
