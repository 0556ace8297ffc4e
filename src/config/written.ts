import type { Slip } from './slips.ts'

/** What a file says, and where. */
export interface Written {
  readonly value: Record<string, unknown>
  /** Where a key, or the last of its parents that is there, stands: from `line` to `end`; null: there is no file. */
  readonly placeOf: (path: readonly PropertyKey[]) => Place | null
  readonly slips: readonly Slip[]
}

export interface Place {
  /** From 1 on. */
  readonly line: number
  readonly col: number
  /** Its last line. */
  readonly end: number
}
