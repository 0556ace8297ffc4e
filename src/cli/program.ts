import { Command, CommanderError } from 'commander'
import { describeError } from '../walk/describe-error.ts'
import { demoCommand } from './commands/demo.ts'
import { doctorCommand } from './commands/doctor.ts'
import { eventCommand } from './commands/event.ts'
import { fenceCommands } from './commands/fence.ts'
import { forgetCommand } from './commands/forget.ts'
import { historyCommand } from './commands/history.ts'
import { installCommand } from './commands/install.ts'
import { pauseCommands } from './commands/pause.ts'
import { reconcileCommand } from './commands/reconcile.ts'
import { recoverCommand } from './commands/recover.ts'
import { relearnCommand } from './commands/relearn.ts'
import { rulesCommand } from './commands/rules.ts'
import { statusCommand } from './commands/status.ts'
import { switchoverCommand } from './commands/switchover.ts'
import { watchCommand } from './commands/watch.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { type Io, plain } from './io.ts'
import { packageVersion } from './version.ts'

/** The whole command line. `exit` is told the exit code of a command that came to an outcome. */
export function buildProgram(io: Io, exit: (code: number) => void): Command {
  const program = new Command('citus-ha')
    .description('Keeps the node metadata of a Citus cluster true when a primary changes.')
    .version(packageVersion())
    .exitOverride()
    .configureOutput({ writeOut: (text) => io.stdout.write(text), writeErr: (text) => io.stderr.write(text) })
    .showHelpAfterError('(citus-ha COMMAND --help says more)')
    .addHelpText(
      'after',
      `\nExit codes:\n${EXIT_CODES.map(([code, meaning]) => `  ${code}  ${meaning}`).join('\n')}`,
    )
  installCommand(program, io, exit)
  statusCommand(program, io, exit)
  doctorCommand(program, io, exit)
  reconcileCommand(program, io, exit)
  eventCommand(program, io, exit)
  switchoverCommand(program, io, exit)
  pauseCommands(program, io)
  fenceCommands(program, io, exit)
  watchCommand(program, io, exit)
  recoverCommand(program, io, exit)
  forgetCommand(program, io, exit)
  relearnCommand(program, io, exit)
  historyCommand(program, io)
  rulesCommand(program, io)
  demoCommand(program, io)
  return program
}

/**
 * Runs one command line; errors are one line on stderr.
 * @param args without the program's own name
 * @returns the exit code
 */
export async function run(args: readonly string[], io: Io): Promise<number> {
  let exitCode = 0
  const program = buildProgram(io, (code) => {
    exitCode = code
  })
  try {
    await program.parseAsync([...args], { from: 'user' })
    return exitCode
  } catch (error) {
    // Commander has said what is wrong, or printed the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    const { line, exitCode: code } = describeError(error)
    io.stderr.write(`citus-ha: ${plain(line)}\n`)
    return code
  }
}
