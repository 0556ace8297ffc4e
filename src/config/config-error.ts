/** What somebody configured does not make sense. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  /** One line each that says where and what to do; `message` is all of them in one line. */
  readonly problems: readonly string[]

  constructor(problems: string | readonly string[], options?: ErrorOptions) {
    const lines = typeof problems === 'string' ? [problems] : problems
    super(lines.join('; '), options)
    this.problems = lines
  }
}
