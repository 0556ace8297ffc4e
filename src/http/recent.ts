import { randomUUID } from 'node:crypto'
import { streamed } from './streams.ts'
import type { Told } from './told.ts'

/** Of each kind that is kept: so many, and so many bytes of them together. */
const KEPT = { count: 200, bytes: 256 * 1024 }

interface Kept {
  readonly n: number
  readonly text: string
}

/** The last events, for whoever comes later; changes are kept for longer than all else. In memory, and bounded. */
export class Recent {
  /** Numbers begin anew with each watcher: those of another one mean nothing. */
  readonly #run = randomUUID().slice(0, 8)
  readonly #since = new Date().toISOString()
  readonly #changes: Kept[] = []
  readonly #others: Kept[] = []
  #count = 0

  /** @returns the event as it is streamed */
  add(told: Told): string {
    const n = ++this.#count
    const text = streamed(`${this.#run}-${n}`, told.kind, JSON.stringify(told))
    const kept = told.kind === 'acted' && told.epoch !== null ? this.#changes : this.#others
    kept.push({ n, text })
    let bytes = kept.reduce((sum, each) => sum + each.text.length, 0)
    while (kept.length > KEPT.count || bytes > KEPT.bytes) bytes -= kept.shift()?.text.length ?? 0
    return text
  }

  /**
   * What is still known, as it is streamed, between `hello` (since when) and `live` (what follows happens now).
   * @param id of the last event that was seen already: what follows it is enough; what is no such id counts as none
   */
  since(id: string): string {
    const [, run, number] = /^(\w+)-(\d+)$/.exec(id) ?? []
    const seen = run === this.#run ? Number(number) : 0
    const after = seen <= this.#count ? seen : 0
    const told = [...this.#changes, ...this.#others].filter(({ n }) => n > after).sort((a, b) => a.n - b.n)
    const about = JSON.stringify({ run: this.#run, since: this.#since })
    const live = streamed(`${this.#run}-${this.#count}`, 'live', '{}')
    return [`event: hello\ndata: ${about}\n\n`, ...told.map(({ text }) => text), live].join('')
  }
}
