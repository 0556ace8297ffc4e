import type { HostPort } from './node.ts'
import type { Testimony } from './observation.ts'
import { proves, SIGHTS, type Sight } from './sight.ts'

export interface Asked {
  readonly witness: HostPort
  readonly about: HostPort
  readonly how: Testimony['how']
}

/** @param control what the witness saw of a server that is known to live; null: it was not asked */
export function testify(
  asked: Asked,
  saw: Sight,
  detail: string = SIGHTS[saw].says,
  control: Sight | null = null,
): Testimony {
  return { ...asked, saw, says: proves(saw), detail, control }
}
