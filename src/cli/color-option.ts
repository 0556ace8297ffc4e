import { type Command, Option } from 'commander'
import { COLOR_MODES, type ColorMode, type Io } from './io.ts'

/** `--color`, of a command and of those beneath it: it counts from where it is read on. */
export function addColorOption(command: Command, io: Pick<Io, 'color'>): void {
  if (command.commands.length > 0 && command.parent) {
    for (const each of command.commands) addColorOption(each, io)
    return
  }
  command
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
