/** Told while a change runs. The tests end the process, or a server, at these points. */
export interface ChangeHooks {
  /** Points in order: `opened`, `locked`, `prepared:<n>`, `all-prepared`, `decided`, `committed:<n>`. */
  reached(point: string): Promise<void>
}

export const NO_HOOKS: ChangeHooks = { reached: async () => undefined }
