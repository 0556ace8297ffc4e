import { Command, CommanderError, Help } from 'commander'
import { takeOptionsBefore } from './cluster-options.ts'
// biome-ignore lint/suspicious/noImportCycles: `completion` is one of the commands, and describes them all
import { COMMANDS } from './commands.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { fittedHelp } from './help.ts'
import { type Io, inLocale, plain, widthFor } from './io.ts'
import { addColorOption, addOutputOptions } from './output-options.ts'
import { versionLine } from './version.ts'
import { Waiting } from './waiting.ts'

/** Columns of a help text in a file or a pipe. */
const PIPED_WIDTH = 80

/**
 * The command line. `exit` is told the exit code of a command that came to an outcome.
 * @param isWanted by its name, whether a command is to be run, or to tell its options: the others are only listed
 */
export async function buildProgram(
  io: Io,
  exit: (code: number) => void,
  isWanted: (name: string) => boolean = () => true,
): Promise<Command> {
  const program = new Command('citus-ha')
    .description('Keeps the node metadata of a Citus cluster up to date when a primary changes.')
    .option('-V, --version', 'print version, commit, schema and Node.js in one line')
    .on('option:version', () => {
      io.stdout.write(`${versionLine()}\n`)
      throw new CommanderError(0, 'commander.version', '')
    })
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(fittedHelp(text, widthFor(io.stdout, io.env))),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => widthFor(io.stdout, io.env) ?? PIPED_WIDTH,
      outputError: (text, write) => write(text.replace(/^error: /, 'citus-ha: ')),
    })
    .configureHelp({ subcommandTerm, minWidthToWrap: 20 })
    .showHelpAfterError('(see: citus-ha --help)')
    .addHelpText(
      'after',
      `\n--config, --coordinator, --verbose and --quiet may also come before the command.\n\nExit codes:\n${EXIT_CODES.map(([code, meaning]) => `  ${code}`.padEnd(7) + meaning).join('\n')}`,
    )
  addColorOption(program, io)
  for (const { name, group, about, load } of COMMANDS) {
    const command = program.command(name).description(about).helpGroup(group)
    command.showHelpAfterError(`(see: citus-ha ${name} --help)`)
    if (!isWanted(name)) continue
    ;(await load())(command, io, exit)
    for (const sub of command.commands) sub.showHelpAfterError(`(see: citus-ha ${name} ${sub.name()} --help)`)
    addOutputOptions(command, io)
  }
  return program
}

/** One that is not loaded does not know its options. */
function subcommandTerm(this: Help, command: Command): string {
  const entry = command.parent?.parent ? undefined : COMMANDS.find(({ name }) => name === command.name())
  return entry ? `${entry.name} ${entry.usage}`.trim() : Help.prototype.subcommandTerm.call(this, command)
}

/** Commander answers `help nosuch` with the whole help, and without a word about it. */
function asTyped(args: readonly string[]): string[] {
  const [first, name] = args
  const isUnknown = first === 'help' && name !== undefined && !COMMANDS.some((each) => each.name === name)
  return isUnknown && !name.startsWith('-') && name !== 'help' ? [name] : [...args]
}

/**
 * Runs one command line; errors are one line on stderr, each.
 * @param args without the program's own name
 * @returns the exit code
 */
export async function run(args: readonly string[], given: Io): Promise<number> {
  const io = prepared(given)
  let exitCode = 0
  const exit = (code: number) => {
    exitCode = code
  }
  try {
    const program = await buildProgram(io, exit, (name) => args.includes(name))
    // Without one, everything is read as ever: options behind the words of a tool, too.
    if (/^-(?:-co|-verbose|-quiet|[vq])/.test(args[0] ?? '')) takeOptionsBefore(program, io)
    await program.parseAsync(asTyped(args), { from: 'user' })
    return exitCode
  } catch (error) {
    // Commander has said what is wrong, or printed the help that was asked for.
    if (error instanceof CommanderError) {
      // `--config status`: the name was taken for the file's.
      const isWithout = error.code === 'commander.help' && args[0]?.startsWith('-')
      if (isWithout) io.stderr.write('citus-ha: no command was given\n')
      return error.exitCode === 0 ? 0 : 2
    }
    const { failureOf } = await import('./failure.ts')
    const { lines, exitCode: code } = failureOf(error, io.signal)
    for (const line of lines) io.stderr.write(`citus-ha: ${plain(line)}\n`)
    return code
  } finally {
    io.waiting.end()
  }
}

/** With what is shared by all that a command line says, in the locale and above the line that says whom it waits for. */
function prepared(given: Io): Io & { readonly waiting: Waiting } {
  const io: Io = inLocale({ ...given, color: { mode: 'auto' }, verbosity: { level: 'normal' } })
  const waiting = new Waiting(io)
  const { ask, askSecret } = io
  const first =
    <T>(asked: (question: string) => Promise<T>) =>
    (question: string) => {
      waiting.clear()
      return asked(question)
    }
  return {
    ...io,
    waiting,
    stdout: waiting.above(io.stdout),
    stderr: waiting.above(io.stderr),
    ...(ask && { ask: first(ask) }),
    ...(askSecret && { askSecret: first(askSecret) }),
  }
}
