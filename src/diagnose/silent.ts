import type { Observation } from '../model/observation.ts'
import { proves } from '../model/sight.ts'

/** How many have to agree that a primary is down: ourselves and one more, or two others. */
export const ENOUGH = 2

/** Whether we have seen that nobody answers there. */
export function wasSilent(node: Observation | undefined): boolean {
  return node?.kind === 'unreachable' && proves(node.cause) === 'down'
}
