import { Command, CommanderError, Help } from 'commander'
import { describe, expect, test } from 'vitest'
import { durationOption, httpOption } from '../../src/cli/options.ts'
import { buildProgram } from '../../src/cli/program.ts'
import { formatDuration, parseDuration } from '../../src/config/duration.ts'

function parse(...args: string[]): unknown {
  const quiet = { writeErr: () => undefined }
  const command = new Command().exitOverride().configureOutput(quiet).addOption(httpOption())
  return command.parse(args, { from: 'user' }).opts().http
}

describe('--http', () => {
  test.each([
    [[], undefined],
    [['--http'], { host: '127.0.0.1', port: 8008 }],
    [['--http', '0.0.0.0:9000'], { host: '0.0.0.0', port: 9000 }],
    [['--http', '[::1]:0'], { host: '::1', port: 0 }],
    [['--http', ':9000'], { host: '0.0.0.0', port: 9000 }],
    [['--http', '9000'], { host: '127.0.0.1', port: 9000 }],
    [['--http', ':0'], { host: '0.0.0.0', port: 0 }],
  ])('%j', (args, expected) => {
    expect(parse(...args)).toEqual(expected)
  })

  test.each(['99999', ':99999', ':', 'nowhere', 'host:99999'])('%s is no address', (text) => {
    expect(() => parse('--http', text)).toThrow(CommanderError)
  })
})

describe('a duration', () => {
  test.each([
    [0, '0ms'],
    [200, '200ms'],
    [1500, '1500ms'],
    [10_000, '10s'],
    [90_000, '90s'],
    [300_000, '5m'],
    [86_400_000, '1d'],
  ])('of %i ms is written %s, and read again', (milliseconds, text) => {
    expect(formatDuration(milliseconds)).toBe(text)
    expect(parseDuration(text)).toBe(milliseconds)
  })

  test.each([
    ['1m30s', 90_000],
    ['1h', 3_600_000],
    ['1h30m', 5_400_000],
    ['1.5m', 90_000],
    ['1h 30m', 5_400_000],
    ['2s500ms', 2500],
    ['5 m', 300_000],
    ['1d', 86_400_000],
    ['24d1h', null],
    ['30s1m', null],
    ['1s1s', null],
    ['1m30', null],
    ['10', null],
    ['', null],
    ['m', null],
    ['1s ', null],
    ['-1s', null],
    ['1e3s', null],
  ])('%j is read as %j', (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds)
  })

  test('that is a default is shown by every --help as it can be typed', async () => {
    const nowhere = { write: () => true }
    const io = { stdout: nowhere, stderr: nowhere, env: {}, signal: new AbortController().signal }
    const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)]
    const options = all(await buildProgram(io, () => undefined)).flatMap((command) =>
      command.options.map((option) => ({ command: command.name(), option })),
    )
    const defaults = options
      .filter(({ option }) => option.parseArg === durationOption && option.defaultValue !== undefined)
      .map(({ command, option }) => ({
        of: `${command} ${option.long}`,
        shown: parseDuration(option.defaultValueDescription ?? ''),
        is: option.defaultValue,
      }))
    expect(defaults.map(({ of }) => of)).toContain('patroni --timeout')
    expect(defaults).toEqual(defaults.map((each) => ({ ...each, shown: each.is })))
  })
})

test('a command that is only listed is listed with its options and arguments', async () => {
  const nowhere = { write: () => true }
  const io = { stdout: nowhere, stderr: nowhere, env: {}, signal: new AbortController().signal }
  const none = () => false
  const listed = (await buildProgram(io, () => undefined, none)).createHelp()
  const program = await buildProgram(io, () => undefined)
  const terms = program.commands.map((command) => new Help().subcommandTerm(command))
  expect(program.commands.map((command) => listed.subcommandTerm(command))).toEqual(terms)
  expect(terms).toContain('forget [options] <host:port>')
})
