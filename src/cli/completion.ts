import type { Command, Option } from 'commander'

/** Shells that a script can be made for. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

/** What may stand at one place of a command line. */
interface Place {
  /** The commands before it, each with a blank before its name: ` event patroni`. */
  readonly at: string
  readonly words: readonly Word[]
  readonly options: readonly Choice[]
  readonly takesFile: boolean
}

interface Word {
  readonly name: string
  readonly about: string
}

interface Choice extends Word {
  /** `-o` of `--output`; null: it has none. */
  readonly short: string | null
  /** What follows it: nothing, a file, one of a few words, or what nobody can guess. */
  readonly value: 'none' | 'file' | 'any' | readonly string[]
}

/** A script that a shell sources: made of the program, so that it knows every command and option. */
export function completionScript(program: Command, shell: Shell): string {
  const places = placesOf(program, '')
  const script = { bash, zsh, fish }[shell]
  return `${script(places).join('\n')}\n`
}

function placesOf(command: Command, at: string): Place[] {
  const { commands, options, registeredArguments } = command
  const words = [
    ...commands.map((each) => ({ name: each.name(), about: each.description() })),
    ...registeredArguments.flatMap(({ argChoices = [], description }) =>
      argChoices.map((name) => ({ name, about: description })),
    ),
  ]
  const own: Place = {
    at,
    words: at === '' ? [...words, { name: 'help', about: 'display help for command' }] : words,
    options: [
      ...options.filter(({ hidden }) => !hidden).map(choiceOf),
      { name: '--help', about: 'display help for command', short: '-h', value: 'none' },
    ],
    takesFile: registeredArguments.some((each) => each.name() === 'file'),
  }
  return [own, ...commands.flatMap((each) => placesOf(each, `${at} ${each.name()}`))]
}

function choiceOf({ long, short: letter, flags, description, argChoices, required }: Option): Choice {
  const word = { name: long ?? flags, about: description, short: letter ?? null }
  if (argChoices) return { ...word, value: argChoices }
  if (!required) return { ...word, value: 'none' }
  return { ...word, value: /<(?:file|directory)>/.test(flags) ? 'file' : 'any' }
}

/** Options that are followed by a value: `none` of the others is one anywhere. */
function valued(places: readonly Place[]): string[] {
  const all = places.flatMap(({ options }) => options.filter(({ value }) => value !== 'none'))
  return [...new Set(all.flatMap(spellings))]
}

/** Both ways to type an option. */
const spellings = ({ name, short }: Choice): string[] => (short === null ? [name] : [name, short])

const names = (words: readonly Word[]): string => words.map(({ name }) => name).join(' ')
const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`

/** Patterns of a shell's `case`, for the commands on the way and for the options behind which a value stands. */
function patterns(
  places: readonly Place[],
  separator: string,
  star: (end: string) => string = (end) => `*${quoted(end)}`,
) {
  return {
    ways: places
      .filter(({ at }) => at !== '')
      .map(({ at }) => quoted(at))
      .join(separator),
    valued: valued(places)
      .map((name) => star(` ${name}`))
      .join(separator),
    files: places
      .flatMap(({ at, options }) =>
        options
          .filter(({ value }) => value === 'file')
          .flatMap(spellings)
          .map((name) => quoted(`${at} ${name}`)),
      )
      .join(separator),
  }
}

function choices(places: readonly Place[]): { readonly at: string; readonly words: readonly string[] }[] {
  return places.flatMap(({ at, options }) =>
    options.flatMap((option) => {
      const { value } = option
      return typeof value === 'string'
        ? []
        : spellings(option).map((name) => ({ at: `${at} ${name}`, words: value }))
    }),
  )
}

function bash(places: readonly Place[]): string[] {
  const { ways, valued: withValue, files } = patterns(places, '|')
  return [
    '# source <(citus-ha completion bash)',
    '_citus_ha() {',
    `  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} at='' skip='' words='' files='' i`,
    // --option=value is three words here.
    `  [[ $cur == '=' ]] && cur=''`,
    `  [[ $prev == '=' ]] && prev=\${COMP_WORDS[COMP_CWORD-2]}`,
    '  for ((i = 1; i < COMP_CWORD; i++)); do',
    `    if [[ $skip ]]; then skip=''; continue; fi`,
    `    case "$at \${COMP_WORDS[i]}" in`,
    `      ${withValue}) skip=1 ;;`,
    `      ${ways}) at="$at \${COMP_WORDS[i]}" ;;`,
    '    esac',
    '  done',
    '  case "$at $prev" in',
    ...choices(places).map(({ at, words }) => `    ${quoted(at)}) words=${quoted(words.join(' '))} ;;`),
    `    ${files}) files=1 ;;`,
    `    ${withValue}) ;;`,
    '    *) case "$at" in',
    ...places.map(({ at, words, options, takesFile }) => {
      const word = takesFile ? 'files=1' : `words=${quoted(names(words))}`
      return `      ${quoted(at)}) if [[ $cur == -* ]]; then words=${quoted(names(options))}; else ${word}; fi ;;`
    }),
    '    esac ;;',
    '  esac',
    `  local IFS=$' \\t\\n'`,
    '  COMPREPLY=($(compgen -W "$words" -- "$cur"))',
    '  if [[ $files ]]; then',
    `    IFS=$'\\n'`,
    '    COMPREPLY=($(compgen -f -- "$cur"))',
    '    compopt -o filenames 2>/dev/null',
    '  fi',
    '}',
    'complete -F _citus_ha citus-ha',
  ]
}

function zsh(places: readonly Place[]): string[] {
  const { ways, valued: withValue, files } = patterns(places, '|')
  const described = (words: readonly Word[]) =>
    words.map(({ name, about }) => quoted(`${name}:${about.replaceAll(':', String.raw`\:`)}`)).join(' ')
  return [
    '#compdef citus-ha',
    '# source <(citus-ha completion zsh), after compinit; or as a file _citus-ha in a directory of fpath',
    '_citus_ha() {',
    `  local at='' skip='' word`,
    '  local -a found',
    `  for word in "\${(@)words[2,CURRENT-1]}"; do`,
    `    if [[ -n $skip ]]; then skip=''; continue; fi`,
    '    case "$at $word" in',
    `      ${withValue}) skip=1 ;;`,
    `      ${ways}) at="$at $word" ;;`,
    '    esac',
    '  done',
    '  case "$at $words[CURRENT-1]" in',
    ...choices(places).map(
      ({ at, words }) => `    ${quoted(at)}) compadd -- ${words.map(quoted).join(' ')}; return ;;`,
    ),
    `    ${files}) _files; return ;;`,
    `    ${withValue}) return ;;`,
    '  esac',
    '  case "$at" in',
    ...places.map(({ at, words, options, takesFile }) => {
      const word = takesFile ? '_files; return' : `found=(${described(words)})`
      return `    ${quoted(at)}) if [[ $words[CURRENT] == -* ]]; then found=(${described(options)}); else ${word}; fi ;;`
    }),
    '  esac',
    `  _describe 'citus-ha' found`,
    '}',
    'if [[ "$funcstack[1]" == _citus-ha ]]; then _citus_ha "$@"; else compdef _citus_ha citus-ha; fi',
  ]
}

function fish(places: readonly Place[]): string[] {
  // A * outside of quotes is a file's name to fish.
  const { ways, valued: withValue } = patterns(places, ' ', (end) => quoted(`*${end}`))
  const escaped = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", String.raw`\'`)}'`
  return [
    '# citus-ha completion fish | source',
    'function __citus_ha_at',
    `  set -l at ''`,
    '  set -l skip 0',
    '  for word in (commandline -opc)[2..-1]',
    '    if test $skip = 1; set skip 0; continue; end',
    '    switch "$at $word"',
    `      case ${withValue}; set skip 1`,
    `      case ${ways}; set at "$at $word"`,
    '    end',
    '  end',
    '  test "$at" = "$argv[1]"',
    'end',
    'complete -c citus-ha -f',
    ...places.flatMap(({ at, words, options, takesFile }) => {
      const here = `complete -c citus-ha -n ${escaped(`__citus_ha_at ${escaped(at)}`)}`
      return [
        ...(takesFile ? [`${here} -F`] : []),
        ...words.map(({ name, about }) => `${here} -a ${name} -d ${escaped(about)}`),
        ...options.map(({ name, about, short, value }) => {
          const takes = { none: '', file: ' -r -F', any: ' -x' }
          const after = typeof value === 'string' ? takes[value] : ` -x -a ${escaped(value.join(' '))}`
          const letter = short === null ? '' : ` -s ${short.slice(1)}`
          return `${here} -l ${name.replace(/^--/, '')}${letter}${after} -d ${escaped(about)}`
        }),
      ]
    }),
  ]
}
