import { primaryOf } from '../../model/catalog.ts'
import { parseGid } from '../../model/gid.ts'
import type { Inspection, PreparedTransaction } from '../../model/inspection.ts'
import { takesWritesOf } from '../../model/kinds.ts'
import { look, mend } from '../../model/next-step.ts'
import { formatAddress, type HostPort, sameAddress } from '../../model/node.ts'
import type { Answered } from '../../model/observation.ts'
import { readLocalGroup } from '../../model/retired.ts'
import { psqlAsOwnRole, psqlAsSuperuser, quoted, shellWord } from '../../model/shell.ts'
import { isWaitedFor, standbysWaitedFor } from '../../model/sync-names.ts'
import { ageOf, type Check, type Facts, type Found } from '../check.ts'
import { alterSystem, groupOf, members, nameOf, seenIn, settingOf, writers } from '../servers.ts'

/** What passes between PREPARE and its end takes milliseconds, whoever does it; in milliseconds. */
const LEFTOVER_MS = 5_000
/** One that keeps nobody from a change still keeps VACUUM from its work. */
const OLD_MS = 60_000
/** A round of Citus's maintenance daemon takes milliseconds. */
const STUCK_MS = 5_000

/** Whether a change could be prepared, decided and committed. */
export const TRANSACTION_CHECKS: readonly Check[] = [
  {
    id: 'H100',
    code: 'change-left-prepared',
    severity: 'error',
    says: 'an interrupted change of citus-ha is still prepared, and blocks the group’s writes',
    when: (facts) =>
      leftovers(facts, (each) => !isForeign(facts, each)).map((each) => {
        const found = preparedFound(facts, each)
        const { evidence = [] } = found
        const given = givenUp(facts, each)
        return given === null
          ? { ...found, next: mend(recoverBy(facts, each)) }
          : { ...found, evidence: [...evidence, given] }
      }),
  },
  {
    id: 'H101',
    code: 'prepared-blocks',
    severity: 'error',
    says: 'a prepared transaction that is not citus-ha’s holds a lock that a change of the metadata needs',
    when: (facts) =>
      leftovers(facts, (each) => isForeign(facts, each))
        .filter(({ transaction }) => transaction.locks.length > 0)
        .map((each) => preparedFound(facts, each)),
  },
  {
    id: 'H102',
    code: 'prepared-old',
    severity: 'warning',
    says: 'a prepared transaction that is not citus-ha’s is older than a minute, or has a name like citus-ha’s',
    when: (facts) =>
      leftovers(facts, (each) => isForeign(facts, each))
        .filter(
          ({ transaction }) =>
            transaction.locks.length === 0 &&
            (transaction.ageMs >= OLD_MS || /^citus_ha_/.test(transaction.gid)),
        )
        .map((each) => preparedFound(facts, each)),
  },
  {
    id: 'H110',
    code: 'prepared-off',
    severity: 'error',
    says: 'max_prepared_transactions is 0: the node can take part in no change, now or once it is promoted',
    when: (facts) =>
      members(facts)
        .filter((inspection) => settingOf(inspection, 'max_prepared_transactions') === '0')
        .map((inspection) => slotsFound(facts, inspection, 'max_prepared_transactions is 0')),
  },
  {
    id: 'H111',
    code: 'prepared-full',
    severity: 'error',
    says: 'all slots of max_prepared_transactions are taken',
    when: (facts) =>
      writers(facts).flatMap((inspection) => {
        const slots = Number(settingOf(inspection, 'max_prepared_transactions') ?? 0)
        const inUse = seenIn(inspection.prepared)?.inUse ?? 0
        if (slots === 0 || inUse < slots) return []
        return [slotsFound(facts, inspection, `all ${slots} slots of max_prepared_transactions are taken`)]
      }),
  },
  {
    id: 'H120',
    code: 'sync-hangs',
    severity: 'error',
    says: 'synchronous replication waits for more standbys than are there: every commit hangs',
    when: (facts) => writers(facts).flatMap((inspection) => hanging(facts, inspection)),
  },
  {
    id: 'H121',
    code: 'sync-would-hang',
    severity: 'warning',
    says: 'a standby, once promoted, would wait for more synchronous standbys than its group has left',
    when: (facts) =>
      members(facts)
        .filter(({ node }) => node.inRecovery)
        .flatMap((inspection) => wouldHang(facts, inspection)),
  },
  {
    id: 'H130',
    code: 'daemon-stuck',
    severity: 'warning',
    says: 'a daemon of Citus hangs in one wait: deadlock detection, 2PC recovery or metadata sync is held up',
    when: (facts) =>
      writers(facts).flatMap(({ node, daemons }) =>
        (seenIn(daemons) ?? [])
          .filter(({ busyMs }) => (busyMs ?? 0) >= STUCK_MS)
          .map(({ name, pid, busyMs }) => ({
            group: groupOf(facts, node),
            node: nameOf(facts, node),
            summary: `the ${name} of ${formatAddress(nameOf(facts, node))} has been in one transaction for ${ageOf(busyMs ?? 0)}`,
            evidence: [`pid ${pid}`, 'it waits for an answer of another node for as long as that node hangs'],
            // To cancel it helps for a moment: the next round waits for the same node.
            next: look(
              `${psqlAsOwnRole(
                nameOf(facts, node),
                facts.survey.database,
                `SELECT pid, wait_event_type, wait_event, xact_start FROM pg_stat_activity WHERE pid = ${pid}`,
              )}   # the node that hangs has to answer again, or to be stopped`,
            ),
          })),
      ),
  },
]

interface Leftover {
  readonly inspection: Inspection
  readonly transaction: PreparedTransaction
}

/** On nodes that take writes: standbys have theirs from their primaries. */
function leftovers(facts: Facts, whose: (transaction: PreparedTransaction) => boolean): Leftover[] {
  return writers(facts).flatMap((inspection) =>
    (seenIn(inspection.prepared)?.transactions ?? [])
      .filter((transaction) => whose(transaction) && transaction.ageMs >= LEFTOVER_MS)
      .map((transaction) => ({ inspection, transaction })),
  )
}

/** By its owner too: anybody may give one the name of ours. */
const isForeign = ({ cluster, survey }: Facts, { gid, mayBeOurs }: PreparedTransaction) =>
  !mayBeOurs || parseGid(gid, cluster, survey.database) === null

/** Whoever has prepared it may end it, and a superuser. */
function recoverBy({ coordinator, survey }: Facts, { inspection, transaction }: Leftover): string {
  const role = seenIn(inspection.session)?.role
  if (inspection.node.superuser || role === undefined || role === transaction.owner) return 'citus-ha recover'
  const owner = encodeURIComponent(transaction.owner)
  const url = `postgres://${owner}@${formatAddress(coordinator.address)}/${encodeURIComponent(survey.database)}`
  return `citus-ha recover --coordinator ${shellWord(url)}   # as the role that has prepared it, or a superuser`
}

/**
 * One that was made under a newer coordinator than this is left alone by `citus-ha recover`, which can't know what that one
 * decided: it is left to whoever has gone back to this one. null: no such.
 */
function givenUp({ cluster, survey, coordinator }: Facts, { transaction }: Leftover): string | null {
  const made = parseGid(transaction.gid, cluster, survey.database)?.timeline
  if (made === undefined || coordinator.timeline === null || made <= coordinator.timeline) return null
  return `made under coordinator timeline ${made}, but this coordinator is on timeline ${coordinator.timeline}: roll it back only if timeline ${made} was given up for good`
}

/** Citus: `citus_<group>_<pid>_<transaction>_<connection>` (`transaction_identifier`). */
const BY_CITUS = /^citus_(\d+)_\d+_\d+_\d+$/

function preparedFound(facts: Facts, { inspection, transaction }: Leftover): Found {
  const { gid, owner, ageMs, locks } = transaction
  const at = nameOf(facts, inspection.node)
  const blocks = locks.length === 0 ? '' : `, and holds ${locks.join(' and ')}`
  const [, preparedBy] = BY_CITUS.exec(gid) ?? []
  const decides = preparedBy === undefined ? null : decidedBy(facts, Number(preparedBy))
  return {
    group: groupOf(facts, inspection.node),
    node: at,
    summary: `${formatAddress(at)}: ${gid} by ${owner} has been prepared for ${ageOf(ageMs)}${blocks}`,
    evidence: [
      `gid ${gid}`,
      `owner ${owner}`,
      `age ${Math.round(ageMs)} ms`,
      ...(decides === null ? [] : [decides.evidence]),
    ],
    next: decides
      ? decides.next(at, gid)
      : mend(
          `${psqlAsSuperuser(at, facts.survey.database, `ROLLBACK PREPARED ${quoted(gid)}`)}   # only if ${shellWord(owner)} no longer needs it`,
        ),
  }
}

/**
 * Only the server of the group that a transaction of Citus was prepared by knows whether it was committed, in its
 * `pg_dist_transaction`: its recovery takes those of its own group, and a retired one's group is its own.
 */
function decidedBy(facts: Facts, localGroup: number) {
  const { group, retired } = readLocalGroup(localGroup)
  const { database } = facts.survey
  const whose = retired ? `an old primary of group ${group}, which is retired` : `group ${group}`
  // Another server that takes itself for the group would roll back what the registered primary has just prepared.
  const registered = primaryOf(facts.coordinator.citus?.catalog ?? [], group)
  const isRegistered = (node: Answered) =>
    registered !== undefined && sameAddress(node.address, registered.address)
  const deciding = facts.inspections.find(({ node }) =>
    retired
      ? node.retired && !node.inRecovery && node.citus?.localGroup === group
      : isRegistered(node) && takesWritesOf(node, group),
  )?.node
  const sql = 'SELECT recover_prepared_transactions()'
  return {
    evidence: deciding
      ? `prepared by ${whose}: ${formatAddress(nameOf(facts, deciding))} decides`
      : `prepared by ${whose}: the server that decides does not answer; it was committed if pg_dist_transaction there has the gid, otherwise rolled back`,
    // A retired one is read-only by default.
    next: (at: HostPort, gid: string) =>
      deciding
        ? mend(
            psqlAsSuperuser(
              nameOf(facts, deciding),
              database,
              retired ? `BEGIN READ WRITE; ${sql}; COMMIT` : sql,
            ),
          )
        : look(psqlAsOwnRole(at, database, `SELECT * FROM pg_prepared_xacts WHERE gid = ${quoted(gid)}`)),
  }
}

function slotsFound(facts: Facts, { node, prepared }: Inspection, what: string): Found {
  const at = nameOf(facts, node)
  const inUse = seenIn(prepared)?.inUse
  const slots = Math.max(100, 2 * (inUse ?? 0))
  const sql = `ALTER SYSTEM SET max_prepared_transactions = ${slots}`
  return {
    group: groupOf(facts, node),
    node: at,
    summary: `${formatAddress(at)}: ${what}`,
    evidence: inUse === undefined ? [] : [`prepared at the moment: ${inUse}`],
    next: mend(
      `${psqlAsSuperuser(at, facts.survey.database, sql)} && pg_ctl restart -D DATA_DIRECTORY   # on ${shellWord(formatAddress(at))}, on its standbys first`,
    ),
  }
}

/** null where commits wait for nobody, or it could not be seen. */
function waitedFor(inspection: Inspection): { names: string; count: number } | null {
  const names = settingOf(inspection, 'synchronous_standby_names')
  const commit = settingOf(inspection, 'synchronous_commit')
  if (names === null || commit === 'off' || commit === 'local') return null
  const count = standbysWaitedFor(names)
  return count === 0 ? null : { names, count }
}

const standbys = (count: number) => `${count} synchronous standby${count === 1 ? '' : 's'}`

function hanging(facts: Facts, inspection: Inspection): Found[] {
  const { node } = inspection
  const waits = waitedFor(inspection)
  if (!waits || !node.readsStatistics) return []
  const there = node.senders.filter(
    ({ state, syncState }) => state === 'streaming' && (syncState === 'sync' || syncState === 'quorum'),
  )
  if (there.length >= waits.count) return []
  const summary = `every commit waits for ${standbys(waits.count)}, and ${there.length} ${there.length === 1 ? 'is' : 'are'} there`
  return [syncFound(facts, inspection, summary, waits.names)]
}

/** After its promotion the old primary is gone: the group's other standbys are all that is left. */
function wouldHang(facts: Facts, inspection: Inspection): Found[] {
  const waits = waitedFor(inspection)
  if (!waits) return []
  const { systemIdentifier, instance } = inspection.node
  const left = facts.inspections.filter(
    ({ node }) => node.inRecovery && node.systemIdentifier === systemIdentifier && node.instance !== instance,
  )
  const would = `once promoted, it would wait for ${standbys(waits.count)}`
  // Whoever streams from it already goes on; all others stream from a primary that is gone.
  const attached = inspection.node.senders.filter(({ state, applicationName }) => {
    return state === 'streaming' && isWaitedFor(waits.names, applicationName ?? '')
  })
  if (attached.length >= waits.count) return []
  const names = left.map(({ node }) => formatAddress(nameOf(facts, node)))
  const summary =
    left.length < waits.count
      ? `${would}, and ${left.length} would be left`
      : `${would}: no write would complete until ${names.join(', ')} stream from it, which they do not do by themselves`
  return [syncFound(facts, inspection, summary, waits.names)]
}

function syncFound(facts: Facts, { node }: Inspection, summary: string, names: string): Found {
  const at = nameOf(facts, node)
  const attached = node.senders.map(
    (each) => `attached: ${each.applicationName || 'unnamed'}, ${each.state}, ${each.syncState}`,
  )
  return {
    group: groupOf(facts, node),
    node: at,
    summary: `${formatAddress(at)}: ${summary}`,
    evidence: [`synchronous_standby_names: ${names}`, ...attached],
    next: mend(alterSystem(facts, node, 'synchronous_standby_names', `''`)),
  }
}
