import type { Argument, Command } from 'commander'
import { EXIT_CODES } from '../../src/cli/exit-codes.ts'
import { packageVersion } from '../../src/cli/version.ts'
import {
  configurationSchema,
  defaultOf,
  keysOf,
  optionText,
  program,
  typeOf,
  VARIABLES,
} from './reference.ts'

// The pages of docs/man, each made of what docs/reference is made of. `npm run docs` writes them anew.

const NOTE = '.\\" Made by `npm run docs`; a test says when it is stale.'

/** Every page by its file's name. */
export async function manPages(): Promise<Record<string, string>> {
  const whole = await program()
  const commands = whole.commands.map((command) => [`citus-ha-${command.name()}.1`, commandPage(command)])
  return {
    'citus-ha.1': programPage(whole),
    ...Object.fromEntries(commands),
    'citus-ha.yaml.5': configurationPage(),
  }
}

/** Text as roff has it: nothing in it is a request, a hyphen is one that can be copied. */
function roff(text: string): string {
  const escaped = text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('`', '\\(ga')
    .replaceAll('^', '\\(ha')
    .replaceAll('~', '\\(ti')
    .replaceAll('"', '\\(dq')
    .replaceAll('’', '\\(cq')
    .replace(
      /[^\n -~]/gu,
      (char) => `\\[u${char.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')}]`,
    )
  return escaped.replace(/^(?=\.)/gm, '\\&')
}

/** A paragraph, in lines that an editor shows. */
function filled(text: string): string {
  const lines: string[] = []
  for (const word of roff(text).split(/\s+/)) {
    const last = lines.at(-1)
    if (last === undefined || last.length + word.length >= 80) lines.push(word.replace(/^\./, '\\&.'))
    else lines[lines.length - 1] = `${last} ${word}`
  }
  return lines.join('\n')
}

function page(name: string, section: 1 | 5, about: string, ...parts: readonly string[][]): string {
  const head = [
    NOTE,
    `.TH ${name.toUpperCase()} ${section} "" "citus\\-ha ${packageVersion()}" "citus\\-ha"`,
    // An option that is broken in two can't be searched for.
    '.nh',
    '.SH NAME',
    `${roff(name)} \\- ${roff(about)}`,
  ]
  return `${[...head, ...parts.flat()].join('\n')}\n`
}

const section = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : [`.SH ${title}`, ...lines]

const item = (head: string, text: string): string[] => ['.TP', `.B ${roff(head)}`, filled(text)]

const paragraphs = (text: string): string[] =>
  text
    .split(/\n\s*\n/)
    .filter((each) => each.trim() !== '')
    .flatMap((each, n) => [...(n === 0 ? [] : ['.PP']), filled(each.trim())])

function seeAlso(names: readonly (readonly [name: string, section: number])[]): string[] {
  return section(
    'SEE ALSO',
    names.map(([name, number], n) => `.BR ${roff(name)} (${number})${n === names.length - 1 ? '' : ' ,'}`),
  )
}

function programPage(whole: Command): string {
  const groups = [...new Set(whole.commands.map((each) => each.helpGroup()))]
  return page(
    'citus-ha',
    1,
    whole.description().replace(/\.$/, ''),
    section('SYNOPSIS', ['.B citus\\-ha', '.I command', '.RI [ options ]']),
    section('DESCRIPTION', [
      ...paragraphs(
        'Whatever promotes the standbys of a Citus cluster does not have to know Citus: citus-ha sees the promotion, proves it, and updates every copy of pg_dist_node in one two-phase commit.',
      ),
      '.PP',
      filled(
        'Each command has a page of its own, such as citus-ha-status(1). --config, --coordinator, --verbose and --quiet may also come before the command.',
      ),
    ]),
    section(
      'COMMANDS',
      groups.flatMap((group) => [
        `.SS ${roff((group ?? '').replace(/:$/, ''))}`,
        ...whole.commands
          .filter((each) => each.helpGroup() === group)
          .flatMap((each) => item(each.name(), each.description())),
      ]),
    ),
    section('OPTIONS', optionItems(whole)),
    section(
      'EXIT STATUS',
      EXIT_CODES.flatMap(([code, meaning]) => item(String(code), meaning)),
    ),
    section(
      'ENVIRONMENT',
      VARIABLES.flatMap(([names, means]) => item(names, means.replaceAll('`', ''))),
    ),
    section('FILES', [
      ...item('~/.config/citus-ha/citus-ha.yaml', 'the user’s configuration'),
      ...item('/etc/citus-ha/citus-ha.yaml', 'the machine’s configuration'),
    ]),
    seeAlso([['citus-ha.yaml', 5], ...whole.commands.map((each) => [`citus-ha-${each.name()}`, 1] as const)]),
  )
}

function commandPage(command: Command): string {
  const name = `citus-ha-${command.name()}`
  const help = helpAfter(command)
  const own = command.commands.length === 0
  return page(
    name,
    1,
    command.description(),
    section('SYNOPSIS', (own ? [command] : command.commands).flatMap(synopsis)),
    section('DESCRIPTION', paragraphs(help.text === '' ? `${sentenceOf(command.description())}` : help.text)),
    section('OPTIONS', own ? optionItems(command) : []),
    section(
      'COMMANDS',
      command.commands.flatMap((each) => {
        const about = helpAfter(each)
        return [
          `.SS ${roff(`citus-ha ${command.name()} ${each.name()}`)}`,
          ...paragraphs(`${sentenceOf(each.description())}\n\n${about.text}`),
          ...optionItems(each),
        ]
      }),
    ),
    section('EXIT STATUS', ['See', '.BR citus\\-ha (1).']),
    section(
      'EXAMPLES',
      [help, ...command.commands.map(helpAfter)].flatMap(({ examples }) =>
        examples === '' ? [] : ['.EX', roff(examples), '.EE'],
      ),
    ),
    seeAlso([
      ['citus-ha', 1],
      ['citus-ha.yaml', 5],
    ]),
  )
}

const sentenceOf = (about: string): string =>
  `${about.replace(/^[a-z]+\b(?!_)/, (word) => word.charAt(0).toUpperCase() + word.slice(1))}.`

function synopsis(command: Command, n: number): string[] {
  const path = command.parent?.parent ? `${command.parent.name()} ${command.name()}` : command.name()
  return [
    ...(n === 0 ? [] : ['.br']),
    `.B ${roff(`citus-ha ${path}`)}`,
    '.RI [ options ]',
    ...command.registeredArguments.map(argumentOf),
  ]
}

function argumentOf(argument: Argument): string {
  const shown = roff(`${argument.name()}${argument.variadic ? '…' : ''}`)
  return argument.required ? `.I ${shown}` : `.RI [ ${shown} ]`
}

function optionItems(command: Command): string[] {
  const options = command.options.filter(({ hidden }) => !hidden)
  return options.flatMap((option) => {
    const { text, byDefault } = optionText(option)
    return item(option.flags, byDefault === '' ? text : `${text} (default: ${byDefault})`)
  })
}

/** What `--help` says below the options, parted where its examples begin. */
function helpAfter(command: Command): { readonly text: string; readonly examples: string } {
  const texts: string[] = []
  const emitter = command as Command & { emit(event: string, context: object): boolean }
  emitter.emit('afterHelp', { error: false, command, write: (text: string) => texts.push(text) })
  const [text = '', examples = ''] = texts.join('').split(/^Examples?:\n/m)
  return { text: text.trim(), examples: examples.trimEnd() }
}

function configurationPage(): string {
  return page(
    'citus-ha.yaml',
    5,
    'the configuration of citus-ha',
    section('SYNOPSIS', [
      ...['~/.config/citus-ha/citus-ha.yaml', '/etc/citus-ha/citus-ha.yaml'].flatMap((file, n) => [
        ...(n === 0 ? [] : ['.br']),
        `.I ${roff(file)}`,
      ]),
    ]),
    section(
      'DESCRIPTION',
      paragraphs(
        'YAML or JSON. An unknown key is an error. --config FILE or CITUS_HA_CONFIG names another file. If a command line or CITUS_HA_COORDINATOR names a coordinator, a file is read only if it is named too. “citus-ha config example” prints an example file with every key, “citus-ha config check” shows every problem of a file.'.replace(
          /[“”]/g,
          '"',
        ),
      ),
    ),
    section(
      'KEYS',
      keysOf(configurationSchema(), '').flatMap(({ path, node, required }) => {
        const byDefault = required ? 'required' : defaultOf(node)
        const about = [
          typeOf(node),
          ...(byDefault === '' ? [] : [required ? byDefault : `default ${byDefault}`]),
        ]
        return [
          ...item(path, node.description ?? ''),
          '.br',
          roff(`(${about.join('; ').replaceAll('`', '')})`),
        ]
      }),
    ),
    section('EXAMPLES', [
      '.EX',
      roff(
        [
          'coordinators:',
          '  - url: postgres://citus_ha@cn1.example:5432/app',
          '  - url: postgres://citus_ha@cn2.example:5432/app',
          'connection: { sslmode: verify-full, sslrootcert: /etc/citus-ha/root.crt }',
        ].join('\n'),
      ),
      '.EE',
    ]),
    seeAlso([
      ['citus-ha', 1],
      ['citus-ha-config', 1],
    ]),
  )
}
