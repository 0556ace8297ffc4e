import { basename, relative, resolve } from 'node:path'
import { Command, Option } from 'commander'
import { ConfigError } from '../../config/config-error.ts'
import type { Environment } from '../../config/url.ts'
import type { Stage } from '../../demo/story.ts'
import { colorsFor, type Io, type Output } from '../io.ts'
import { installCommand } from './install.ts'
import { reconcileCommand } from './reconcile.ts'
import { statusCommand } from './status.ts'

interface DemoOptions {
  readonly keep?: boolean
  readonly stop?: string
}

const ABOUT = `
Servers run on free ports of 127.0.0.1, in a new directory under TMPDIR, with the PostgreSQL of this machine
(CITUS_HA_PG_BINDIR names another one) or the one that npm installed. If it has the Citus extension, Citus is real;
otherwise, or with CITUS_HA_BACKEND=standin, a stand-in has its catalog and node functions. Ctrl-C leaves no process
and no file.

Examples:
  citus-ha demo
  citus-ha demo --keep
  citus-ha demo --stop /tmp/citus-ha-Ab12Cd`

export function demoCommand(command: Command, io: Io): void {
  command
    .option('--keep', 'keep the cluster running at the end, and print its URLs')
    .addOption(
      new Option(
        '--stop <directory>',
        'stop a demo that --keep left running, and remove its files',
      ).conflicts('keep'),
    )
    .addHelpText('after', ABOUT)
    .action(async ({ keep, stop }: DemoOptions) => {
      if (stop !== undefined) return await stopAndTell(resolve(stop), io)
      // Loaded here: no other command should wait for it.
      const { tellDemo } = await import('../../demo/story.ts')
      await withReason(tellDemo(stageOf(io), keep ? 'keep' : 'stop'))
    })
}

async function stopAndTell(directory: string, io: Io): Promise<void> {
  const { stopKept } = await import('../../demo/keep.ts')
  const servers = await stopKept(directory)
  io.stdout.write(`stopped ${servers} servers, removed ${directory}\n`)
}

function stageOf(io: Io): Stage {
  const colors = colorsFor(io)
  // What the environment says of other clusters does not concern this one.
  const env: Environment = Object.fromEntries(
    Object.entries(io.env).filter(([name]) => !/^(PG|CITUS_HA_)/.test(name)),
  )
  const inner: Io = { ...io, env, stdout: indented(io.stdout), stderr: indented(io.stderr) }
  return {
    say: (line) => io.stdout.write(`${line}\n`),
    colors,
    signal: io.signal,
    program: programName(),
    citusHa: (args) => runCommand(args, inner),
  }
}

/** The real commands, in this process. */
async function runCommand(args: readonly string[], io: Io): Promise<number> {
  let exitCode = 0
  const exit = (code: number) => {
    exitCode = code
  }
  const program = new Command('citus-ha').exitOverride()
  installCommand(program.command('install'), io, exit)
  statusCommand(program.command('status'), io, exit)
  reconcileCommand(program.command('reconcile'), io, exit)
  await program.parseAsync([...args], { from: 'user' })
  return exitCode
}

const INDENT = '    '

/** Each text consists of whole lines. */
function indented(output: Output): Output {
  return {
    write: (text) => output.write(text.replace(/^(?=.)/gm, INDENT)),
    isTTY: output.isTTY === true,
    columns: (output.columns || 80) - INDENT.length,
    rows: output.rows ?? 0,
  }
}

/** As it was typed: from a checkout, `citus-ha` is on nobody's PATH. */
function programName(): string {
  const script = process.argv[1] ?? ''
  return basename(script) === 'citus-ha.js' ? `node ${relative(process.cwd(), script)}` : 'citus-ha'
}

/** One line says it all: of a server's log, the line that tells why; of a command's refusal, that it was one. */
async function withReason(demo: Promise<void>): Promise<void> {
  try {
    await demo
  } catch (error) {
    if (!(error instanceof Error) || error.name === 'AbortError' || error instanceof ConfigError) throw error
    const [first, ...log] = error.message.split('\n')
    const reasons = log.flatMap((line) => /\b(?:FATAL|PANIC|ERROR|error): +(.*)/.exec(line)?.[1] ?? [])
    throw new Error([first, ...reasons.slice(-1)].join(': '), { cause: error })
  }
}
