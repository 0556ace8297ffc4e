import type { Diagnosis, DiagnosisCode, SecondaryState } from './diagnosis.ts'
import { formatAddress, type HostPort } from './node.ts'
import type { ReasonCode, WarningCode } from './remark.ts'
import { START_SERVER, START_STANDBY, STOP_SERVER } from './server-commands.ts'
import { databaseWord, psqlAsOwnRole, psqlAsSuperuser, shellWord } from './shell.ts'

/**
 * What a person does next: one line for a shell. Words in CAPITALS are to be filled in; what stands behind `#` is a condition,
 * or what comes after it.
 */
export type Step =
  /** Once it is carried out, what it is about is no longer wrong. */
  | { readonly mend: string; readonly look: null }
  /** It changes nothing: it shows what a person has to know before anything is changed. */
  | { readonly mend: null; readonly look: string }

export const mend = (command: string): Step => ({ mend: command, look: null })
export const look = (command: string): Step => ({ mend: null, look: command })

export function commandOf(step: Step): string {
  return step.mend === null ? step.look : step.mend
}

/** What a step is about. */
export interface About {
  readonly database: string
  readonly coordinator: HostPort
  /** null: no group, or all. */
  readonly group: number | null
  readonly node: HostPort | null
  /** The group's registered primary, where it has one. */
  readonly primary: HostPort | null
}

export type StepCode = DiagnosisCode | ReasonCode | WarningCode

/** Grants what is missing, and keeps what the configuration allows. */
export const INSTALL = 'citus-ha install --user postgres   # or another superuser'

const of = ({ group }: Pick<About, 'group'>) => (group === null ? '' : ` --group ${group}`)
const reconcile = (about: About) => `citus-ha reconcile${of(about)}`
const primaryOf = ({ primary }: About) => (primary ? shellWord(formatAddress(primary)) : 'the primary')
const doctor = () => look('citus-ha doctor   # names what is wrong, with the command')

/** Whether it answers, and if not, why. */
export const ask = (node: HostPort, database: string) => look(psqlAsOwnRole(node, database, 'SELECT 1'))

/** A standby that receives nothing has no row in `pg_stat_wal_receiver`: what it tries is in its settings. */
const RECEIVER = `SELECT (SELECT status FROM pg_stat_wal_receiver) AS receiver, pg_last_wal_replay_lsn(), current_setting('primary_conninfo', true) AS primary_conninfo`

const receiver = ({ node }: About) =>
  node && look(`${psqlAsSuperuser(node, 'postgres', RECEIVER)}   # its log says why it receives nothing`)

/** By these a server is told from one of another system, or of another line. */
const IDENTITY =
  'SELECT system_identifier, timeline_id, checkpoint_lsn FROM pg_control_system(), pg_control_checkpoint()'
const identity = ({ node, database }: About, which: string) =>
  look(
    node
      ? psqlAsSuperuser(node, database, IDENTITY)
      : `psql -h HOST -p PORT -d ${databaseWord(database)} -U postgres -c "${IDENTITY}"   # ${which}`,
  )
const members = (about: About) => identity(about, 'HOST:PORT: each server that the evidence names')

const stopOne = (about: About) =>
  mend(`${STOP_SERVER}   # on the one that must not take writes; then: ${reconcile(about)}`)

type StepOf = (about: About) => Step | null
const nothing: StepOf = () => null

const STEPS: Readonly<Record<DiagnosisCode, StepOf> & Partial<Record<StepCode, StepOf>>> = {
  healthy: nothing,
  disabled: nothing,
  // Each secondary, and each old primary, has a line of its own.
  'secondary-down': ({ node, group }) =>
    node &&
    mend(
      `${START_STANDBY}   # on ${shellWord(formatAddress(node))}; if it is gone for good: citus-ha forget ${shellWord(formatAddress(node))}${of({ group })}`,
    ),
  'old-primary-writes': nothing,
  promoted: (about) => mend(reconcile(about)),
  'no-primary-row': ({ coordinator, database, group }) =>
    look(psqlAsOwnRole(coordinator, database, `SELECT * FROM pg_dist_node WHERE groupid = ${group}`)),
  'metadata-differs': (about) => mend(reconcile(about)),
  'secondary-read-only': (about) => mend(reconcile(about)),
  'primary-down': (about) =>
    mend(
      `${START_SERVER}   # on ${primaryOf(about)}; or promote a standby (pg_promote(), your HA tool), then: ${reconcile(about)}; if what was promoted has no row: ${reconcile(about)} --promoted HOST:PORT`,
    ),
  'primary-in-recovery': (about) =>
    mend(
      `psql -h HOST -p PORT -d postgres -U postgres -c "SELECT pg_promote()" && ${reconcile(about)}   # HOST:PORT: the member that is to be the primary`,
    ),
  'promotion-running': ({ group }) =>
    look(`citus-ha status${of({ group })}   # shows it as writable once it is promoted`),
  'split-brain': stopOne,
  'secondary-writable': stopOne,
  'read-only': doctor,
  'name-to-follow': (about) =>
    look(
      `getent hosts ${shellWord(about.primary?.host ?? 'NAME')}   # until it is the new primary; then: citus-ha status${of(about)}`,
    ),
  'primary-unknown': ({ primary, database, group }) =>
    look(
      `${primary ? psqlAsOwnRole(primary, database, 'SELECT 1') : 'citus-ha status'}   # if it is gone for good, promote a standby, and: citus-ha reconcile${of({ group })} --promoted HOST:PORT`,
    ),
  'primary-alive-elsewhere': ({ primary, database }) =>
    primary &&
    look(
      `${psqlAsOwnRole(primary, database, 'SELECT 1')}   # others get an answer there: pg_hba.conf, the network, or it is too busy`,
    ),
  'lineage-mismatch': members,
  'lineage-unknown': members,
  'less-than-known': members,
  unproved: ({ database }) =>
    look(
      `psql -h HOST -p PORT -d ${databaseWord(database)} -U citus_ha -c "SELECT 1"   # HOST:PORT: the node that was named as promoted`,
    ),
  'secondary-silent': ({ node, database }) => node && ask(node, database),
  'secondary-unknown': ({ node, database }) => node && ask(node, database),
  'secondary-foreign': (about) => identity(about, 'HOST:PORT: that server'),
  'secondary-not-streaming': receiver,
  'stale-entry': receiver,
  'does-not-follow': receiver,
  'takes-no-writes': doctor,
  'writes-hang': doctor,
  impostor: doctor,
  'not-registered': doctor,
}

const AILING = ['down', 'silent', 'unknown', 'foreign', 'writable', 'read-only', 'not-streaming'] as const

/** Whether something is wrong with a secondary in this state: `secondary-STATE` is its code. */
export function isAiling(state: SecondaryState['state']): state is (typeof AILING)[number] {
  return AILING.some((each) => each === state)
}

/**
 * Of a secondary in this state; null: nothing is to be done. A standby that receives nothing because its group has no primary to
 * receive from has the step of its group.
 */
export function stepOfSecondary(
  { code, standing }: Pick<Diagnosis, 'code' | 'standing'>,
  state: SecondaryState['state'],
  about: About,
): Step | null {
  if (state === 'not-streaming' && standing !== 'sound') return nextStep(code, about)
  return isAiling(state) ? nextStep(`secondary-${state}`, about) : null
}

/** null: nothing is to be done, or the sentence has its command itself. */
export function nextStep(code: StepCode, about: About): Step | null {
  return STEPS[code]?.(about) ?? null
}
