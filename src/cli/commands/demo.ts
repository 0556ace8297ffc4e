import type { Command } from 'commander'
import type { Io } from '../io.ts'

export function demoCommand(program: Command, io: Io, exit: (code: number) => void): void {
  program.command('demo').action(() => {
    io.stdout.write('')
    exit(0)
  })
}
