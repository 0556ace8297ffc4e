import { Command, CommanderError } from 'commander'
import { describe, expect, test } from 'vitest'
import { httpOption } from '../../src/cli/options.ts'

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
  ])('%j', (args, expected) => {
    expect(parse(...args)).toEqual(expected)
  })

  test.each(['9000', 'nowhere', 'host:99999'])('%s is no address', (text) => {
    expect(() => parse('--http', text)).toThrow(CommanderError)
  })
})
