import type { DiagnosisCode } from '../model/diagnosis.ts'
import { formatAddress, type HostPort, parseAddress } from '../model/node.ts'
import type { ReasonCode, Remark, WarningCode } from '../model/remark.ts'
import { psql } from '../model/shell.ts'
import type { View } from './look.ts'

/** What a person does about something that is wrong: a command, with `#` and a condition behind it where there is one. */
export interface NextStep {
  /** null: nothing, or the sentence has its command itself. */
  readonly next: string | null
}

interface About {
  readonly database: string
  readonly group: number | null
  readonly node: HostPort | null
  /** The group's registered primary. */
  readonly primary: string
}

type Code = DiagnosisCode | ReasonCode | WarningCode

const reconcile = ({ group }: About) => `citus-ha reconcile${of(group)}`
const evidence = ({ group }: About) => `citus-ha reconcile${of(group)} --dry-run   # shows the evidence`
const doctor = () => 'citus-ha doctor   # names what blocks it, with the command to run'
const receiver = ({ node, database }: About) =>
  node && psql(node, database, 'SELECT status, sender_host, latest_end_time FROM pg_stat_wal_receiver')
const ask = ({ node, database }: About) => node && psql(node, database, 'SELECT 1')

const NEXT: Readonly<Partial<Record<Code, (about: About) => string | null>>> = {
  promoted: reconcile,
  'no-primary-row': reconcile,
  'metadata-differs': reconcile,
  'secondary-read-only': reconcile,
  'primary-down': (about) =>
    `${reconcile(about)}   # once ${about.primary} runs again, or a standby is promoted (pg_promote(), your HA tool)`,
  'primary-in-recovery': (about) => `${reconcile(about)}   # once a member of the group is promoted`,
  'promotion-running': ({ group }) => `citus-ha status${of(group)} --watch   # until it has finished`,
  'split-brain': (about) =>
    `${reconcile(about)}   # once the server that must not write is stopped (there: pg_ctl stop -m fast)`,
  'secondary-writable': (about) =>
    `${reconcile(about)}   # once the server that must not write is stopped (there: pg_ctl stop -m fast)`,
  'read-only': doctor,
  'name-to-follow': ({ primary, group }) =>
    `getent hosts ${primary.replace(/:\d+$/, '')}   # until it is the new primary; then: citus-ha status${of(group)}`,
  'primary-unknown': evidence,
  'primary-alive-elsewhere': evidence,
  'lineage-mismatch': evidence,
  'lineage-unknown': evidence,
  'less-than-known': evidence,
  unproved: evidence,
  'secondary-down': ({ node, group }) =>
    node && `start it (on that machine: pg_ctl start), or, if it is gone for good: ${forget(node, group)}`,
  'secondary-silent': ask,
  'secondary-foreign': doctor,
  'secondary-not-streaming': receiver,
  'stale-entry': receiver,
  'takes-no-writes': doctor,
  'writes-hang': doctor,
  impostor: doctor,
  'not-registered': doctor,
  'does-not-follow': receiver,
}

/** A sentence with what to do about it. */
export function withNext<R extends Remark<Code>>(remark: R, view: View): R & NextStep {
  const { group, code } = remark
  const row = (view.coordinator.citus?.catalog ?? []).find(
    (each) => each.group === group && each.role === 'primary',
  )
  const primary = row ? formatAddress(row.address) : 'the primary'
  const node = remark.node === null ? null : parseAddress(remark.node)
  const next = NEXT[code]?.({ database: view.survey.database, group, node, primary }) ?? null
  return { ...remark, next }
}

const of = (group: number | null) => (group === null ? '' : ` --group ${group}`)

const forget = (node: HostPort, group: number | null) => `citus-ha forget ${formatAddress(node)}${of(group)}`
