import { COORDINATOR_GROUP } from '../model/catalog.ts'
import { pointOf } from '../model/line.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Answered, Survey } from '../model/observation.ts'
import type { KnownCoordinator } from '../walk/checks.ts'

/** Where the coordinator may be: at the addresses given, and wherever one of its line was seen. */
export class Coordinators {
  readonly #addresses = new Map<string, HostPort>()
  #known: KnownCoordinator | null = null

  constructor(given: readonly HostPort[]) {
    for (const address of given) this.#addresses.set(formatAddress(address), address)
  }

  get addresses(): HostPort[] {
    return [...this.#addresses.values()]
  }

  /** The coordinator that was followed last; null: none yet. */
  get known(): KnownCoordinator | null {
    return this.#known
  }

  /** Remembers the coordinator's own standbys: one of them may be the next. */
  see(survey: Survey): void {
    for (const node of survey.nodes) {
      const own = node.kind === 'answered' && node.citus?.localGroup === COORDINATOR_GROUP
      if (own && node.systemIdentifier === (this.#known?.systemIdentifier ?? node.systemIdentifier)) {
        this.#addresses.set(formatAddress(node.address), node.address)
      }
    }
  }

  follow(coordinator: Answered): void {
    this.#known = { systemIdentifier: coordinator.systemIdentifier, ...pointOf(coordinator) }
  }
}
