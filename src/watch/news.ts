import type { Diagnosis } from '../model/diagnosis.ts'
import { CitusHaError } from '../model/failure.ts'
import { formatAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import type { Belief } from './belief.ts'
import type { WatchEvent } from './event.ts'
import type { Intent } from './intent.ts'

/** Tells of each thing when it begins or changes, and not again at each turn. */
export class News {
  readonly #database: string
  readonly #tell: (event: WatchEvent) => void
  readonly #held = new Map<number, string>()

  constructor(database: string, tell: (event: WatchEvent) => void) {
    this.#database = database
    this.#tell = tell
  }

  coordinator(before: Answered | undefined, now: Answered): void {
    if (before?.instance === now.instance) return
    const why = before ? 'another server leads the cluster now' : 'it leads the cluster'
    this.#tell({ kind: 'coordinator', database: this.#database, node: now.address, why })
  }

  diagnosed(before: readonly Belief[], now: readonly Belief[]): void {
    for (const { group, diagnosis } of now) {
      const was = before.find((belief) => belief.group === group)?.diagnosis ?? null
      if (!diagnosis || !isNews(diagnosis, was)) continue
      const { rule, code, standing, summary, evidence } = diagnosis
      const given = { group, rule, code, standing, summary, evidence, was: was?.code ?? null }
      this.#tell({ kind: 'diagnosed', database: this.#database, ...given })
    }
  }

  held({ held }: Intent): void {
    for (const { group, why, would } of held) {
      const text = [why, ...would].join('\n')
      if (this.#held.get(group) === text) continue
      this.#held.set(group, text)
      this.#tell({ kind: 'held', database: this.#database, group, why, would })
    }
    for (const group of this.#held.keys()) {
      if (!held.some((each) => each.group === group)) this.#held.delete(group)
    }
  }

  /**
   * A bug must not end the watch of a cluster; but it is told as what it is.
   * @param before what the last failure of this kind said; null: there was none
   * @returns what this one says
   */
  failed(error: unknown, before: string | null): string {
    const text = error instanceof Error ? error.message : String(error)
    const stack = error instanceof Error ? error.stack : undefined
    const message = error instanceof CitusHaError ? text : `unexpected: ${stack ?? text}`
    if (message !== before) this.#tell({ kind: 'failed', database: this.#database, message })
    return message
  }
}

function isNews(now: Diagnosis, was: Diagnosis | null): boolean {
  const at = (each: Diagnosis) => (each.primary ? formatAddress(each.primary.address) : '')
  return was === null || now.rule !== was.rule || at(now) !== at(was)
}
