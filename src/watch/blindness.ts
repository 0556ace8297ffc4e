import type { Confirmation } from './belief.ts'
import type { News } from './news.ts'

/** Surveys that find no coordinator to follow: as with any absence, one may meet a restart, and several are believed. */
export class Blindness {
  readonly #confirm: Confirmation
  readonly #news: News
  #surveys = 0
  #at = 0
  #why: string | null = null

  constructor(confirm: Confirmation, news: News) {
    this.#confirm = confirm
    this.#news = news
  }

  /** Why there is no coordinator to follow; null: there is one, as far as is believed. */
  get why(): string | null {
    return this.#why
  }

  get isDoubted(): boolean {
    return this.#surveys > 0
  }

  ends(): void {
    this.#surveys = 0
    this.#why = null
  }

  /** @param at when the survey began, `performance.now()` */
  goesOn(error: unknown, at: number): void {
    const { surveys, apartMs } = this.#confirm
    if (this.#surveys > 0 && at - this.#at < apartMs) return
    this.#surveys += 1
    this.#at = at
    if (this.#surveys >= surveys) this.#why = this.#news.failed(error, this.#why)
  }
}
