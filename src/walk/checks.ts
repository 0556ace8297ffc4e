import { show } from '../diagnose/witnesses.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { CitusHaError } from '../model/failure.ts'
import { coordinatorOf, kindOf } from '../model/kinds.ts'
import { formatAddress } from '../model/node.ts'
import type { Answered, Survey } from '../model/observation.ts'

/**
 * The coordinator of a survey.
 * @throws CitusHaError saying what each candidate answered, and what to do next
 */
export function requireCoordinator(survey: Survey): Answered {
  const found = coordinatorOf(survey.nodes)
  if (found) return found
  const answered = survey.nodes.filter((node): node is Answered => node.kind === 'answered')
  const [denied] = survey.nodes.filter((node) => node.kind === 'unreadable')
  if (answered.length === 0 && denied?.kind === 'unreadable') {
    throw new CitusHaError(
      'configuration',
      `${formatAddress(denied.address)}, database ${survey.database}: ${denied.detail}`,
    )
  }
  if (answered.length > 0 && answered.every((node) => kindOf(node) === 'no copy')) {
    const nodes = answered.map((node) => formatAddress(node.address)).join(', ')
    throw new CitusHaError(
      'configuration',
      `${nodes}: database ${survey.database} has no Citus node metadata; give the URL of a coordinator and its database`,
    )
  }
  throw new CitusHaError(
    'no-coordinator',
    `no writable coordinator answers: ${survey.nodes.map(show).join('; ')}`,
  )
}

/** @throws CitusHaError for a group that the coordinator does not know, or a vouched node without a group */
export function requireGroups(groups: readonly number[] | null, diagnoses: readonly Diagnosis[]): void {
  const known = diagnoses.map((diagnosis) => diagnosis.group)
  const missing = (groups ?? []).find((group) => !known.includes(group))
  if (missing !== undefined) {
    throw new CitusHaError(
      'usage',
      `there is no group ${missing}; pg_dist_node has ${known.join(', ') || 'none'}`,
    )
  }
}
