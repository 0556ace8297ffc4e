import { type Command, Option } from 'commander'
import { COLOR_MODES, type ColorMode, type Io } from './io.ts'

type Chosen = Pick<Io, 'color' | 'verbosity'>

/** `--color`, `-v` and `-q`, of a command and of those beneath it: each counts from where it is read on. */
export function addOutputOptions(command: Command, io: Chosen): void {
  if (command.commands.length > 0 && command.parent)
    for (const each of command.commands) addOutputOptions(each, io)
  else addVerbosityOptions(addColorOption(command, io), io)
}

export function addColorOption(command: Command, io: Pick<Io, 'color'>): Command {
  return command
    .addOption(
      new Option(
        '--color <when>',
        'colours: auto (on a terminal, and as NO_COLOR and FORCE_COLOR say), always, never',
      ).choices(COLOR_MODES),
    )
    .on('option:color', (mode: ColorMode) => {
      if (io.color) io.color.mode = mode
    })
}

/** Of both the last counts, so that one typed behind another, as in an alias, has its way. */
export function addVerbosityOptions(command: Command, io: Pick<Io, 'verbosity'>): Command {
  return command
    .option(
      '-v, --verbose',
      'show on stderr what is done, and for each connection how it was made and how long it took',
    )
    .option('-q, --quiet', 'print results and errors only: no progress, no warnings')
    .on('option:verbose', () => {
      if (io.verbosity) io.verbosity.level = 'verbose'
    })
    .on('option:quiet', () => {
      if (io.verbosity) io.verbosity.level = 'quiet'
    })
}
