import type { Command } from 'commander'

/** Options of every command that talks to a cluster. */
export interface ClusterOptions {
  readonly config?: string
  readonly coordinator?: readonly string[]
}

export function addClusterOptions(command: Command): Command {
  return command
    .option('--config <file>', 'configuration file, YAML or JSON (CITUS_HA_CONFIG)')
    .option(
      '--coordinator <url>',
      'URL of a coordinator, such as postgres://citus_ha@cn1.example:5432/app; repeatable (CITUS_HA_COORDINATOR)',
      (url: string, before: readonly string[] = []) => [...before, url],
    )
}

/**
 * What stands before the command counts as if it stood behind it. Where both are, coordinators add up, and the later file
 * counts. @throws CommanderError for a command that asks no cluster
 */
export function takeFromProgram(program: Command, command: Command): void {
  for (const { name, value } of given(program)) {
    const own: unknown = command.getOptionValue(name)
    if (!command.options.some((option) => option.attributeName() === name))
      command.error(`error: ${command.name()} takes no --${name}`)
    if (Array.isArray(value)) command.setOptionValue(name, [...value, ...(Array.isArray(own) ? own : [])])
    else if (own === undefined) command.setOptionValue(name, value)
  }
}

function given(program: Command): { readonly name: string; readonly value: unknown }[] {
  const options = Object.entries(program.opts<Record<string, unknown>>())
  return options.map(([name, value]) => ({ name, value }))
}
