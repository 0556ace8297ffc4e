import type { Environment } from '../config/url.ts'

/**
 * Whether text is read as UTF-8 where it is printed: the codeset of the first of LC_ALL, LC_CTYPE and LANG that is set, as
 * setlocale(3) reads them; without any it is the locale C, which is ASCII.
 */
export function isUtf8({ LC_ALL, LC_CTYPE, LANG }: Environment): boolean {
  return /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || 'C')
}

/** What we write ourselves beyond ASCII; names are anybody's, and stay what they are. */
const IN_ASCII: ReadonlyMap<string, string> = new Map([
  ['’', "'"],
  ['‘', "'"],
  ['“', '"'],
  ['”', '"'],
  ['…', '...'],
  ['–', '-'],
  ['—', '-'],
  ['─', '-'],
  ['│', '|'],
  ['├', '|'],
  ['└', '`'],
  ['✓', '+'],
  ['✗', 'x'],
])

const BEYOND = new RegExp(`[${[...IN_ASCII.keys()].join('')}]`, 'gu')

export function inAscii(text: string): string {
  return text.replace(BEYOND, (char) => IN_ASCII.get(char) ?? char)
}
