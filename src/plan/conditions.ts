import type { Diagnosis } from '../model/diagnosis.ts'
import { type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Survey } from '../model/observation.ts'
import { streamsFrom } from '../model/server-state.ts'
import { type AliasOf, isAliasOf } from './alias.ts'

/**
 * What a read that is sent to an address of a group would find there.
 * - `good`: the group's primary, or a standby that follows it closely
 * - `serves`: a standby that answers, and is behind or does not follow yet
 * - `unclear`: nobody could say
 * - `bad`: down, or a server whose answers would be wrong
 */
export type Condition = 'good' | 'serves' | 'unclear' | 'bad'

export interface Conditions {
  of(group: number, address: HostPort): Condition
  /** WAL that has still to come, in bytes, for comparing standbys of one group; null where it is not known. */
  lagOf(group: number, address: HostPort): bigint | null
}

/** @param maxLag bytes of WAL that a secondary may be behind to be good */
export function conditionsOf(
  survey: Survey,
  diagnoses: readonly Diagnosis[],
  aliases: readonly AliasOf[],
  maxLag: number,
): Conditions {
  const seenAt = (address: HostPort) =>
    survey.nodes.find((node) => sameAddress(node.address, address)) ??
    survey.nodes.find((node) => isAliasOf(address, node.address, aliases))
  const diagnosisOf = (group: number) => diagnoses.find((each) => each.group === group)
  const primaryOf = (group: number) => diagnosisOf(group)?.primary ?? null
  const lagOf = (group: number, address: HostPort): bigint | null => {
    const node = seenAt(address)
    const primary = primaryOf(group)
    if (node?.kind !== 'answered' || node.lsn === null) return null
    // With the primary gone, whoever has more is less behind.
    if (primary?.lsn == null) return -node.lsn
    return primary.lsn > node.lsn ? primary.lsn - node.lsn : 0n
  }
  return {
    lagOf,
    of: (group, address) => {
      const node = seenAt(address)
      const diagnosis = diagnosisOf(group)
      if (node?.kind === 'answered')
        return conditionOf(node, group, diagnosis?.primary ?? null, lagOf(group, address), maxLag)
      if (node?.kind !== 'unreachable') return 'unclear'
      const known = diagnosis?.secondaries.find((each) => sameAddress(each.address, node.address))
      if (known !== undefined) return known.state === 'down' ? 'bad' : 'unclear'
      // The registered primary in whose place another one is proved: that it is down was part of the proof, or vouched for.
      return diagnosis?.standing === 'proved' ? 'bad' : 'unclear'
    },
  }
}

function conditionOf(
  node: Answered,
  group: number,
  primary: Answered | null,
  lag: bigint | null,
  maxLag: number,
): Condition {
  if (node.citus?.localGroup !== group) return 'bad'
  if (primary && node.systemIdentifier !== primary.systemIdentifier) return 'bad'
  if (primary && node.instance === primary.instance) return 'good'
  if (!node.inRecovery) return 'bad'
  const near = lag !== null && lag <= BigInt(maxLag)
  return streamsFrom(node, primary) && near ? 'good' : 'serves'
}
