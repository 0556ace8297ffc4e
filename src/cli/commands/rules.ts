import type { Command } from 'commander'
import { RULES } from '../../diagnose/rules.ts'
import type { Io } from '../io.ts'

export function rulesCommand(program: Command, io: Io): void {
  program
    .command('rules')
    .description('the rules by which a group is diagnosed, in order; the first that applies decides')
    .action(() => {
      for (const rule of RULES)
        io.stdout.write(`${rule.id}  ${rule.code.padEnd(24)} ${rule.standing.padEnd(8)} ${rule.says}\n`)
    })
}
