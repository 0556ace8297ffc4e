import { Argument, type Command } from 'commander'
import { addOptionsBefore } from '../cluster-options.ts'
import { completionScript, SHELLS, type Shell } from '../completion.ts'
import { type Io, writeData } from '../io.ts'

const HELP = `
Examples:
  bash  source <(citus-ha completion bash)            in ~/.bashrc
  zsh   source <(citus-ha completion zsh)             in ~/.zshrc, after compinit
  fish  citus-ha completion fish > ~/.config/fish/completions/citus-ha.fish`

/** `citus-ha completion SHELL`: the script knows every command and option, and starts no program when it is asked. */
export function completionCommand(command: Command, io: Io): void {
  command
    .addArgument(new Argument('<shell>', 'whose script to print').choices(SHELLS))
    .addHelpText('after', HELP)
    .action(async (shell: Shell) => {
      // Loaded here, since it loads every command.
      // biome-ignore lint/suspicious/noImportCycles: `completion` is one of the commands, and describes them all
      const { buildProgram } = await import('../program.ts')
      const program = addOptionsBefore(await buildProgram(io, () => undefined), io)
      writeData(io.stdout, completionScript(program, shell))
    })
}
