import type { Facts } from '../doctor/check.ts'
import { CitusHaError } from '../model/failure.ts'
import type { Inspection } from '../model/inspection.ts'
import { requireCoordinator, requireLeading } from './checks.ts'
import { copiesOf } from './copies.ts'
import type { View } from './look.ts'

/** What the checks of doctor look at. Pure. */
export function factsOf(view: View, inspections: readonly Inspection[], maxLagBytes: number): Facts {
  const { survey, coordinator, diagnoses, aliases, given } = view
  return {
    survey,
    coordinator,
    unclear: unclearness(view),
    diagnoses,
    copies: copiesOf(view),
    inspections,
    activity: null,
    aliases,
    maxLagBytes,
    ...given,
  }
}

function unclearness({ survey, coordinator, diagnoses }: View): string | null {
  try {
    requireCoordinator(survey)
    requireLeading(coordinator, diagnoses)
    return null
  } catch (error) {
    if (error instanceof CitusHaError) return error.message
    throw error
  }
}
