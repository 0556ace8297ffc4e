import type { Command } from 'commander'
import { shellWord } from '../model/shell.ts'
import type { Io } from './io.ts'
import type { Login } from './login.ts'
import { addVerbosityOptions } from './output-options.ts'

/** Options of every command that talks to a cluster. */
export interface ClusterOptions {
  readonly config?: string
  readonly coordinator?: readonly string[]
  /** As whom to connect, of a command that takes it. */
  readonly login?: Login
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
 * Commands of ours in a text, as whoever gave these options has to type them: with the file, or the coordinators, of this one. A
 * password is no part of it.
 */
export function asTyped({ config, coordinator = [] }: ClusterOptions): (text: string) => string {
  const given = [
    ...(config === undefined ? [] : [`--config ${shellWord(config)}`]),
    ...coordinator.map((url) => `--coordinator ${shellWord(withoutPassword(url))}`),
  ]
  const typed = given.map((each) => ` ${each}`).join('')
  return (text) =>
    text.replace(OWN_COMMAND, (found, quoted?: string) => (quoted === undefined ? `${found}${typed}` : found))
}

/** What is left can be typed, the password given otherwise; of one that was read, as `parseUrl` reads it. */
function withoutPassword(url: string): string {
  const [, head = '', query = ''] = /^([^?]*)\??(.*)$/s.exec(url) ?? []
  const kept = query.split('&').filter((pair) => !/password/i.test(decoded(pair.split('=')[0] ?? '')))
  const bare = head.replace(/^(\w+:\/\/[^:@/]*):[^@/]*@/, '$1@')
  return kept.join('') === '' ? bare : `${bare}?${kept.join('&')}`
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/**
 * One that names its cluster itself, or is about none, stays as it is; so do a sentence about citus-ha, and what is
 * quoted: a name. `citus-ha watch` is one as well: what the sessions of a watcher call themselves.
 */
const OWN_COMMAND =
  /(\\.|'[^']*'|"[^"]*")|\bcitus-ha (?:doctor|fence|forget|history|install|pause|reconcile|recover|release|relearn|resume|status|switchover|uninstall)\b(?![^#;]*--(?:config|coordinator)\b)/g

/** What may stand before the command as well. */
export function addOptionsBefore(program: Command, io: Pick<Io, 'verbosity'>): Command {
  return addVerbosityOptions(addClusterOptions(program), io)
}

/** What stands before the command counts as if it stood behind it: coordinators add up, and of two files the last counts. */
export function takeOptionsBefore(program: Command, io: Pick<Io, 'verbosity'>): void {
  addOptionsBefore(program.enablePositionalOptions(), io).hook('preAction', (_, command) => {
    for (const [name, value] of Object.entries(program.opts<Record<string, unknown>>())) {
      const own: unknown = command.getOptionValue(name)
      if (!command.options.some((option) => option.attributeName() === name))
        command.error(`error: ${command.name()} does not take --${name}`)
      if (Array.isArray(value)) command.setOptionValue(name, [...value, ...(Array.isArray(own) ? own : [])])
      else if (own === undefined) command.setOptionValue(name, value)
    }
  })
}
