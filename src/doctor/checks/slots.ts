import type { Inspection, ReplicationSlot } from '../../model/inspection.ts'
import { look } from '../../model/next-step.ts'
import { formatAddress } from '../../model/node.ts'
import { psqlAsOwnRole, quoted, shellWord } from '../../model/shell.ts'
import type { Check, Facts } from '../check.ts'
import { nameOf, seenIn, serverFound, writers } from '../servers.ts'

/** What a promotion does to those who read a server's changes. */
export const SLOT_CHECKS: readonly Check[] = [
  {
    id: 'H190',
    code: 'slot-lost',
    severity: 'warning',
    says: 'a logical replication slot is on the primary only: a failover loses it, and the changes that its consumer has not read',
    when: (facts) =>
      writers(facts).flatMap((inspection) =>
        lostSlots(inspection, standbysOf(facts, inspection)).map((slot) =>
          serverFound(
            facts,
            inspection.node,
            `${describeSlot(slot)} is lost when a standby is promoted`,
            [`database ${slot.database ?? '?'}`, `failover: ${slot.failover}`],
            look(lookAtSlot(facts, inspection, slot)),
          ),
        ),
      ),
  },
]

function standbysOf({ inspections }: Facts, { node }: Inspection): Inspection[] {
  return inspections.filter(
    (each) => each.node.inRecovery && each.node.systemIdentifier === node.systemIdentifier,
  )
}

/** Logical slots of a primary that not each of the servers has, one of which takes its place; none if there is none. */
export function lostSlots(primary: Inspection, standbys: readonly Inspection[]): ReplicationSlot[] {
  if (standbys.length === 0) return []
  const has = (standby: Inspection, { name }: ReplicationSlot) =>
    (seenIn(standby.slots) ?? []).some((slot) => slot.name === name && slot.synced)
  return (seenIn(primary.slots) ?? []).filter(
    (slot) => slot.type === 'logical' && !slot.temporary && !standbys.every((standby) => has(standby, slot)),
  )
}

export function describeSlot({ name, type, active, consumer, unread }: ReplicationSlot): string {
  const who = active ? `read by ${consumer || 'an unnamed client'}` : 'not active'
  const what = unread === null ? '' : `, ${unread} bytes of WAL unread`
  return `the ${type} replication slot ${name} (${who}${what})`
}

/** Since PostgreSQL 17 a slot can be kept for a failover; before, its consumer starts again. */
function lookAtSlot(facts: Facts, { node }: Inspection, { name }: ReplicationSlot): string {
  const at = nameOf(facts, node)
  const of = `slot_name = ${quoted(name)}`
  const sql =
    node.serverVersion >= 170_000
      ? `SELECT slot_name, failover FROM pg_replication_slots WHERE ${of}`
      : `SELECT active_pid, confirmed_flush_lsn FROM pg_replication_slots WHERE ${of}`
  const hint =
    node.serverVersion >= 170_000
      ? 'failover has to be true, and sync_replication_slots on'
      : `its consumer has to start again after a failover of ${shellWord(formatAddress(at))}`
  return `${psqlAsOwnRole(at, facts.survey.database, sql)}   # ${hint}`
}
