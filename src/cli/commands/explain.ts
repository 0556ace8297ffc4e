import { existsSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Argument, type Command } from 'commander'
import { CitusHaError } from '../../model/failure.ts'
import { type Explained, everything, find, type Kind, namesIn } from '../explain/explain.ts'
import { type Colors, colorsFor, type Io, plain, printJson, widthFor } from '../io.ts'
import { inTable, wrapped } from '../table.ts'
import { packageFile } from '../version.ts'

const HELP = `
CODE is the id or the name of a rule or of a check, an exit code, a code of --json, an alert of Prometheus, or a word
that is printed, such as retired. Without CODE it lists the kinds of codes. It asks no server, and reads no configuration. Exit code 0, or 2 for an unknown code.

Examples:
  citus-ha explain D041
  citus-ha explain address-not-allowed
  citus-ha explain exit 5
  citus-ha explain CitusHaSplitBrain`

export function explainCommand(command: Command, io: Io): void {
  const codes = new Argument('[code...]', 'the code that was printed')
  // For completion alone: what is not among them is answered with what may have been meant.
  codes.argChoices = namesIn(everything())
  command
    .addArgument(codes)
    .configureHelp({ argumentDescription: ({ description }) => description })
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', HELP)
    .action((words: readonly string[], { json }: { readonly json?: boolean }) => {
      if (words.length === 0) return listKinds(io, json === true)
      const found = find(words)
      if (found.kind === 'unknown') {
        const hint =
          found.like === null ? 'citus-ha explain lists the kinds of codes' : `did you mean ${found.like}?`
        throw new CitusHaError('usage', `unknown code “${found.word}”; ${hint}`)
      }
      if (json) return printJson(io, { explained: found.explained })
      const colors = colorsFor(io)
      const width = widthFor(io.stdout, io.env)
      io.stdout.write(
        found.explained.map((each) => `${linesOf(each, colors, width).join('\n')}\n`).join('\n'),
      )
    })
}

const KINDS: readonly { readonly kind: Kind; readonly says: string; readonly list: string }[] = [
  { kind: 'rule', says: 'a rule of the diagnosis: D041, or split-brain', list: 'citus-ha rules' },
  { kind: 'check', says: 'a check of doctor: H064, or address-not-allowed', list: 'citus-ha doctor --list' },
  {
    kind: 'exit code',
    says: 'an exit code of any command: exit 5, or 5',
    list: 'docs/reference/commands.md',
  },
  { kind: 'remark', says: 'a code of --json: copy-stale', list: 'docs/codes.md' },
  { kind: 'alert', says: 'an alert of Prometheus: CitusHaSplitBrain', list: 'docs/alerts.md' },
  {
    kind: 'term',
    says: 'a word that is printed: retired, remedy, CONFIG_FILE',
    list: 'docs/reference/explanations.md',
  },
]

function listKinds(io: Io, json: boolean): void {
  const all = everything()
  const codesOf = (kind: Kind) => all.filter((each) => each.kind === kind).map(({ code }) => code)
  if (json) {
    printJson(io, { kinds: KINDS.map((each) => ({ ...each, codes: codesOf(each.kind) })) })
    return
  }
  const rows = KINDS.map(({ kind, says, list }) => [kind, `${codesOf(kind).length}`, says, list])
  const columns = [
    { head: 'KIND' },
    { head: 'CODES', align: 'right' as const },
    { head: '' },
    { head: 'ALL OF THEM' },
  ]
  io.stdout.write(`${['citus-ha explain CODE', ...inTable(columns, rows, null)].join('\n')}\n`)
}

function linesOf(
  { kind, code, name, weight, means, meanwhile, todo, page }: Explained,
  colors: Colors,
  width: number | null,
): string[] {
  const title = [code, name].filter((each) => each !== null).join(' ')
  const about = [kind, weight].filter((each) => each !== null).join(', ')
  const paragraph = (text: string, first: string, rest: string) =>
    wrapped(`${first}${plain(text).replaceAll('`', '')}`, width, rest)
  return [
    `${colors.bold(title)}  ${colors.dim(`(${about})`)}`,
    ...paragraph(means, 'Means:      ', INDENT),
    ...paragraph(meanwhile, 'Meanwhile:  ', INDENT),
    ...(todo.length === 0
      ? ['Do:         nothing']
      : todo.flatMap((step, n) =>
          paragraph(step, n === 0 ? 'Do:         - ' : `${INDENT}- `, `${INDENT}  `),
        )),
    `Page:       ${located(page)}`,
  ]
}

const INDENT = ' '.repeat(12)

/** Where the Debian package has the pages; all other ways to get it bring them with the program. */
const DEBIAN_PAGES = pathToFileURL('/usr/share/doc/citus-ha/')

/** The page as a file of this machine, where it is installed. */
function located(page: string): string {
  const [path = '', heading] = page.split('#')
  const file = [packageFile(path), new URL(path, DEBIAN_PAGES)].find((url) => existsSync(url))
  return file === undefined ? page : `${fileURLToPath(file)}${heading === undefined ? '' : `#${heading}`}`
}
