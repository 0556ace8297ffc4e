import type { Command } from 'commander'
import { RULES } from '../../diagnose/rules.ts'
import type { Io } from '../io.ts'

export function rulesCommand(command: Command, io: Io): void {
  command.action(() => {
    for (const rule of RULES)
      io.stdout.write(`${rule.id}  ${rule.code.padEnd(24)} ${rule.standing.padEnd(8)} ${rule.says}\n`)
  })
}
