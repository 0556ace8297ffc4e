/** What somebody configured does not make sense. The message is one line that says where and what to do. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}
