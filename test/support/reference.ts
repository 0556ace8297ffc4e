import type { Command, Option } from 'commander'
import { EXIT_CODES } from '../../src/cli/exit-codes.ts'
import { ALERTS } from '../../src/cli/explain/alerts.ts'
import { type Explained, everything, type Kind } from '../../src/cli/explain/explain.ts'
import { buildProgram } from '../../src/cli/program.ts'
import { exampleFile } from '../../src/config/example.ts'
import { type SchemaNode as Node, schemaTree } from '../../src/config/problems.ts'
import { configSchema } from '../../src/config/schema.ts'
import { RULES } from '../../src/diagnose/rules.ts'
import { CHECKS } from '../../src/doctor/checks.ts'

// The pages of docs/reference, each made of the one place that knows. `npm run docs` writes them anew.

const NOTE = '<!-- Made by `npm run docs`; a test says when it is stale. -->'

/** For a cell of a table: what is between backticks is shown as it is. */
function cell(text: string): string {
  const parts = text.replaceAll('|', '\\|').replaceAll('\n', ' ').split('`')
  return parts.map((part, n) => (n % 2 === 0 ? part.replaceAll('<', '&lt;') : part)).join('`')
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  return [line(head), `|${' --- |'.repeat(head.length)}`, ...rows.map(line)].join('\n')
}

const page = (title: string, ...parts: readonly string[]): string =>
  `${[`# ${title}`, NOTE, ...parts].join('\n\n')}\n`

/** docs/reference/rules.md */
export function rulesPage(): string {
  return page(
    'Rules of the diagnosis',
    'A group is found to be what the first rule in this order says that applies. Ids are stable: they are in logs, reports, history and metrics. `sound` and `proved` may be acted upon; of a group that is `refused` nothing is written.',
    table(
      ['id', 'code', 'standing', 'applies where'],
      RULES.map(({ id, code, standing, says }) => [id, `\`${code}\``, standing, says]),
    ),
  )
}

/** docs/reference/checks.md */
export function checksPage(): string {
  return page(
    'Checks of `citus-ha doctor`',
    'An `error` makes the next failover, or the change after it, fail or do harm (exit code 3); a `warning` may; `info` is worth knowing. Each finding comes with what was seen and a command: `mend:`, after which it is gone, or `look:`, which changes nothing and shows what a person has to decide by.',
    table(
      ['id', 'code', 'severity', 'found where'],
      CHECKS.toSorted((a, b) => a.id.localeCompare(b.id)).map(({ id, code, severity, says }) => [
        id,
        `\`${code}\``,
        severity,
        says,
      ]),
    ),
  )
}

const PARTS: readonly { readonly kind: Kind; readonly title: string }[] = [
  { kind: 'exit code', title: 'Exit codes' },
  { kind: 'rule', title: 'Rules' },
  { kind: 'check', title: 'Checks of doctor' },
  { kind: 'remark', title: 'Other codes of JSON' },
  { kind: 'term', title: 'Words that are printed' },
]

/** docs/reference/explanations.md */
export function explanationsPage(): string {
  const all = everything()
  return page(
    'What a code means, and what to do',
    'Each section has what `citus-ha explain CODE` prints. [Alerts](../alerts.md) have their own page. `N`, `HOST`, `PORT` and the like stand for your own values; a command may also need `--config` or `--coordinator`, as usual.',
    ...PARTS.flatMap(({ kind, title }) => [
      `## ${title}`,
      ...all.filter((each) => each.kind === kind).map(explanationPart),
    ]),
  )
}

function explanationPart({
  kind,
  code,
  name,
  weight,
  means,
  meanwhile,
  todo,
  page: more,
}: Explained): string {
  const title = kind === 'exit code' ? `Exit code ${code}` : code
  const about = [name === null ? null : `\`${name}\``, weight].filter((each) => each !== null).join(', ')
  const link = `[${more}](${more
    .replace(/^docs\/reference\//, '')
    .replace(/^docs\//, '../')
    .replace(/^([A-Z]+\.md)/, '../../$1')})`
  return [
    `### ${title}\n`,
    `${about === '' ? '' : `${about}: `}${means}`,
    '',
    `**Meanwhile:** ${meanwhile}`,
    '',
    ...todo.map((step) => `* ${step}`),
    ...(todo.length === 0 ? [] : ['']),
    `More: ${link}`,
  ].join('\n')
}

const ALERTS_INTRO = `[\`deploy/prometheus/citus-ha.rules.yml\`](../deploy/prometheus/citus-ha.rules.yml) has these alerts for Prometheus; each names its section
here as \`runbook\`. \`critical\`: writes or reads fail, or may be lost, or no watcher would follow the next failover. \`warning\`: the next working day.
Start with \`citus-ha status\`: it asks the cluster now, and needs no watcher. \`citus-ha explain NAME\` prints a
section; [runbooks](runbooks.md) have the commands, by symptom, step by step.

* [Groups](#groups): [split brain](#citushasplitbrain), [no primary](#citushanoprimary), [blocked](#citushagroupblocked), [paused](#citushapaused) …
* [Nodes](#nodes): [in doubt](#citushaindoubt), [a copy that differs](#citushacopydiffers), [lag](#citushastandbylag) …
* [Watchers](#watchers): [missing](#citushawatchermissing), [nobody leads](#citushanobodyleads), [blind](#citushablind) …`

/** docs/alerts.md */
export function alertsPage(): string {
  const alerts = Object.entries(ALERTS)
  return page(
    'What to do about an alert',
    ALERTS_INTRO,
    ...(['Groups', 'Nodes', 'Watchers'] as const).flatMap((title) => [
      `## ${title}`,
      ...alerts
        .filter(([, { part }]) => part === title)
        .map(([name, { means, meanwhile, look, todo }]) =>
          [
            `### ${name}\n`,
            `${means}  `,
            `**Meanwhile:** ${meanwhile}  `,
            ...(look === null ? [] : [`**Look:** ${look}  `]),
            `**Do:** ${todo}`,
          ].join('\n'),
        ),
    ]),
  )
}

/** The whole command line, which writes nowhere. */
export async function program(): Promise<Command> {
  const nowhere = { write: () => true }
  const io = { stdout: nowhere, stderr: nowhere, env: {}, signal: new AbortController().signal }
  return await buildProgram(io, () => undefined)
}

/** docs/reference/commands.md */
export async function commandsPage(): Promise<string> {
  const { commands } = await program()
  return page(
    'Commands',
    '## Exit codes',
    table(
      ['code', 'meaning'],
      EXIT_CODES.map(([code, meaning]) => [String(code), meaning]),
    ),
    ...commands.flatMap((command) => commandParts(command, 'citus-ha')),
  )
}

function commandParts(command: Command, parent: string): string[] {
  const name = `${parent} ${command.name()}`
  if (command.commands.length > 0)
    return [
      `## ${name}`,
      command.description(),
      ...command.commands.flatMap((each) => commandParts(each, name)),
    ]
  const args = command.registeredArguments.map((each) => {
    const { required, variadic } = each
    const shown = `${each.name().toUpperCase()}${variadic ? '…' : ''}`
    return required ? shown : `[${shown}]`
  })
  const options = command.options.filter(({ hidden }) => !hidden)
  return [
    `## ${[name, ...args].join(' ')}`,
    command.description(),
    ...(options.length > 0 ? [table(['option', '', 'default'], options.map(optionRow))] : []),
  ]
}

function optionRow(option: Option): string[] {
  const { text, byDefault } = optionText(option)
  return [`\`${option.flags}\``, text, byDefault]
}

/** What an option is for, with the words that it takes, and what counts without it: nothing is ''. */
export function optionText(option: Option): { readonly text: string; readonly byDefault: string } {
  const { description, defaultValue, defaultValueDescription, argChoices } = option
  const byDefault = defaultValueDescription ?? (defaultValue === undefined ? '' : String(defaultValue))
  const choices = argChoices ? ` (${argChoices.join(', ')})` : ''
  return { text: `${description}${choices}`, byDefault }
}

/** docs/reference/citus-ha.example.yaml */
export function configurationExample(): string {
  return exampleFile(configurationSchema(), 'configuration.schema.json')
}

/** docs/reference/configuration.schema.json */
export function configurationSchema(): Node & { readonly title: string } {
  return { ...schemaTree(configSchema({})), title: 'The configuration of citus-ha' }
}

const PRECEDENCE = `## Which file, which coordinator

| | the first of these that there is |
| --- | --- |
| file | \`--config FILE\`, before the command or behind it; \`CITUS_HA_CONFIG\`; and, where neither \`--coordinator\` nor \`CITUS_HA_COORDINATOR\` is given: \`$XDG_CONFIG_HOME/citus-ha/citus-ha.yaml\` (\`~/.config\` without that variable); \`/etc/citus-ha/citus-ha.yaml\` |
| coordinators | \`--coordinator URL\`, repeatable; \`CITUS_HA_COORDINATOR\`, URLs with blanks between; \`coordinators\` of the file; \`PGHOST\`, as for psql |
| what a coordinator’s URL does not say | \`connection\` of the file; \`PG*\` variables; the password file; what libpq does |

If a coordinator is named, citus-ha reads no file that is not named: it may be another cluster’s, with its standbys, its addresses and
its watcher. A running \`watch\` reads at SIGHUP the file that it found at its start, and looks for no other. A file that holds a
password, a token or a secret, and that everybody may read, is a warning.

## Keys`

/** docs/reference/configuration.md */
export function configurationPage(): string {
  const rows = keysOf(configurationSchema(), '').map(({ path, node, required }) => [
    `\`${path}\``,
    typeOf(node),
    required ? 'required' : defaultOf(node),
    node.description ?? '',
  ])
  return page(
    'Configuration',
    'The keys of the file (YAML or JSON). An unknown key is an error. [A whole file](citus-ha.example.yaml), as `citus-ha config example` prints it; editors complete and check one with [its JSON Schema](configuration.schema.json); `citus-ha config check FILE` says all that is wrong with it, and asks no server.',
    PRECEDENCE,
    table(['key', 'value', 'default', ''], rows),
  )
}

/** Every variable that is read, with what it is. A test holds it against the source. */
export const VARIABLES: readonly (readonly [names: string, means: string])[] = [
  ['CITUS_HA_CONFIG', 'the configuration file, where `--config` names none'],
  [
    'CITUS_HA_COORDINATOR',
    'URLs of coordinators with blanks between, where `--coordinator` names none; before the file’s',
  ],
  [
    'PGHOST PGPORT',
    'what a URL does not say, as for psql; without any URL the coordinator. Lists, as for libpq',
  ],
  [
    'PGUSER PGDATABASE PGPASSWORD PGPASSFILE PGOPTIONS',
    'as for psql, behind the URL and `connection` of the file',
  ],
  ['PGCONNECT_TIMEOUT', 'as for psql, in seconds; 10 without it'],
  [
    'PGSSLMODE PGSSLROOTCERT PGSSLCERT PGSSLKEY PGSSLCRL PGSSLMINPROTOCOLVERSION PGSSLMAXPROTOCOLVERSION',
    'as for psql',
  ],
  [
    'PGHOSTADDR',
    'in the place of `PGHOST` where that is not set; ignored with a warning beside it, since a server has one address here',
  ],
  [
    'PGSERVICE PGSERVICEFILE PGSYSCONFDIR',
    'as for psql: what the service file says of a service takes precedence over the variables for it',
  ],
  ['SSL_CERT_FILE', 'authorities, for `sslrootcert=system`, as for OpenSSL'],
  ['HOME XDG_CONFIG_HOME', 'where the user’s configuration, password file and certificates are looked for'],
  [
    'NO_COLOR FORCE_COLOR CLICOLOR CLICOLOR_FORCE TERM',
    'colours, where `--color` does not say: none with `NO_COLOR`, `CLICOLOR=0` or `TERM=dumb`, and not on terminals alone with the others',
  ],
  ['COLUMNS LINES', 'the size of the terminal, before what it says itself'],
  ['LC_ALL LC_CTYPE LANG', 'whether UTF-8 may be printed; else ASCII'],
  ['NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID', 'set by systemd for `watch`'],
  [
    'CREDENTIALS_DIRECTORY',
    'set by systemd: a password file in it may have an access control list, which shows as access of the group',
  ],
  ['CITUS_HA_PG_BINDIR', '`demo`: the directory of PostgreSQL’s programs'],
  ['CITUS_HA_BACKEND', '`demo`: `standin` for a stand-in in the place of Citus'],
]

/** docs/reference/environment.md */
export function environmentPage(): string {
  const rows = VARIABLES.map(([names, means]) => [names.replace(/\S+/g, '`$&`'), means])
  return page(
    'Environment',
    'Every variable that citus-ha reads. Commands that `switchover` and `notify` run get others: docs/switchover.md, docs/notifications.md.',
    table(['variable', 'means'], rows),
  )
}

interface Key {
  readonly path: string
  readonly node: Node
  readonly required: boolean
}

export function keysOf({ properties = {}, required = [] }: Node, parent: string): Key[] {
  return Object.entries(properties).flatMap(([name, node]) => {
    const path = parent === '' ? name : `${parent}.${name}`
    const own = { path, node, required: required.includes(name) && node.default === undefined }
    const rest = node.additionalProperties
    return [
      own,
      ...keysOf(node, path),
      ...(node.items ? keysOf(node.items, `${path}[]`) : []),
      ...(typeof rest === 'object' ? keysOf(rest, `${path}.NAME`) : []),
    ]
  })
}

export function typeOf({ title, type, enum: words, items, additionalProperties }: Node): string {
  if (words) return words.map((word) => `\`${word}\``).join(', ')
  if (items) return items.properties ? 'list of mappings' : `list of: ${typeOf(items)}`
  if (title) return title
  if (typeof additionalProperties === 'object')
    return additionalProperties.properties ? 'mapping' : `mapping to ${typeOf(additionalProperties)}`
  return type === 'object' ? 'mapping' : String(type ?? 'text').replace('string', 'text')
}

export function defaultOf({ default: value }: Node): string {
  if (value === undefined || (typeof value === 'object' && Object.keys(value ?? {}).length === 0)) return ''
  return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``
}
