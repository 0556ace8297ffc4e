import { similarTo } from '../../config/similar.ts'
import { RULES } from '../../diagnose/rules.ts'
import { CHECKS } from '../../doctor/checks.ts'
import { REASONS, WARNINGS } from '../../model/remark.ts'
import { EXIT_CODES } from '../exit-codes.ts'
import { ALERTS } from './alerts.ts'
import { CHECK_EXPLANATIONS } from './checks.ts'
import { EXIT_EXPLANATIONS } from './exits.ts'
import type { Explanation } from './explanation.ts'
import { type Like, REMARK_EXPLANATIONS } from './remarks.ts'
import { RULE_EXPLANATIONS } from './rules.ts'
import { TERMS } from './terms.ts'

export type Kind = 'rule' | 'check' | 'exit code' | 'remark' | 'alert' | 'term'

/** One code with all that is to be said of it. */
export interface Explained {
  readonly kind: Kind
  /** What is typed: an id (`D063`, `H064`), the number of an exit code, a remark’s code, an alert’s name, a word. */
  readonly code: string
  /** The name of a rule or check; null: it has none. */
  readonly name: string | null
  /** `standing` of a rule, `severity` of a check; null for the others. */
  readonly weight: string | null
  readonly means: string
  readonly meanwhile: string
  readonly todo: readonly string[]
  /** The page of the package that has more, with its heading. */
  readonly page: string
}

/** Every code there is. @throws Error where one has no explanation, which a test would find first */
export function everything(): Explained[] {
  return [
    ...RULES.map(({ id, code, standing, says }) =>
      explained('rule', id, code, standing, says, of(RULE_EXPLANATIONS, id)),
    ),
    ...CHECKS.map(({ id, code, severity, says }) =>
      explained('check', id, code, severity, says, of(CHECK_EXPLANATIONS, id)),
    ),
    ...EXIT_CODES.map(([code, says]) =>
      explained('exit code', `${code}`, null, null, says, EXIT_EXPLANATIONS[code]),
    ),
    ...Object.entries({ ...WARNINGS, ...REASONS }).map(([code, says]) =>
      explained('remark', code, null, null, says, resolved(of(REMARK_EXPLANATIONS, code))),
    ),
    ...Object.entries(ALERTS).map(([name, { means, meanwhile, look, todo }]) =>
      explained('alert', name, null, null, bare(means), {
        meanwhile: bare(meanwhile),
        todo: [...(look === null ? [] : [`look: ${bare(look)}`]), bare(todo)],
        page: `docs/alerts.md#${name.toLowerCase()}`,
      }),
    ),
    ...Object.entries(TERMS).map(([word, said]) => explained('term', word, null, null, said.means, said)),
  ]
}

function explained(
  kind: Kind,
  code: string,
  name: string | null,
  weight: string | null,
  means: string,
  { meanwhile, todo, page }: Explanation,
): Explained {
  return { kind, code, name, weight, means, meanwhile, todo, page }
}

function of<T>(table: Readonly<Record<string, T>>, code: string): T {
  const found = table[code]
  if (found === undefined) throw new Error(`${code} has no explanation`)
  return found
}

/** A remark that is explained as another code is has that one’s text. */
function resolved(given: Explanation | Like): Explanation {
  if (!('like' in given)) return given
  const tables = { ...RULE_EXPLANATIONS, ...CHECK_EXPLANATIONS, ...REMARK_EXPLANATIONS }
  return resolved(of<Explanation | Like>(tables, given.like))
}

/** Markdown without its links: `[text](page)` is `text`. */
const bare = (text: string) => text.replace(/\[([^\]]+)\]\([^)]+\)/g, '$1')

const lower = (text: string) => text.toLowerCase()

/** As words are compared: `Expand coordinators` is `expand-coordinator`, `remedies in force` are `remedy`. */
const compared = (text: string) =>
  lower(text)
    .replace(/ in force$/, '')
    .replaceAll(/[\s_]+/g, '-')
    .replace(/ies$/, 'y')
    .replace(/([^s])s$/, '$1')

/** What `words` of a command line name: several where a name is that of a rule and of a remark, or of several rules. */
export type Found =
  | { readonly kind: 'found'; readonly explained: readonly Explained[] }
  /** `like`: what was most likely meant; null: nothing is near. */
  | { readonly kind: 'unknown'; readonly word: string; readonly like: string | null }

/**
 * What was asked for, each once, in the order of the words.
 * @param words ids, names and numbers; `exit` before a number says what is meant anyway
 */
export function find(words: readonly string[]): Found {
  const all = everything()
  const explained = new Set<Explained>()
  const matching = (word: string) =>
    all.filter(({ code, name }) =>
      [code, name].some((each) => each !== null && compared(each) === compared(word)),
    )
  // A label of several words, as it is printed.
  const whole = words.length > 1 ? matching(words.join(' ')) : []
  if (whole.length > 0) return { kind: 'found', explained: whole }
  for (const word of words.filter((each, n) => !(lower(each) === 'exit' && n < words.length - 1))) {
    const found = matching(word)
    if (found.length === 0) return { kind: 'unknown', word, like: similarTo(word, namesIn(all)) }
    for (const each of found) explained.add(each)
  }
  return { kind: 'found', explained: [...explained] }
}

/** Every word that can be asked for, once. */
export function namesIn(all: readonly Explained[]): string[] {
  return [...new Set(all.flatMap(({ code, name }) => (name === null ? [code] : [code, name])))]
}
