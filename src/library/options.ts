import { similarTo } from '../config/similar.ts'
import { CitusHaError } from '../model/failure.ts'

/** What an option is to be, in words, and whether it is. */
interface Kind {
  readonly expected: string
  readonly is: (value: unknown) => boolean
}

export type Kinds<Options> = { readonly [Name in keyof Required<Options>]: Kind }

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const hasMethods = (value: unknown, ...names: readonly string[]) =>
  typeof value === 'object' &&
  value !== null &&
  names.every((name) => typeof Reflect.get(value, name) === 'function')

export const TEXT: Kind = { expected: 'a string', is: (value) => typeof value === 'string' && value !== '' }
export const OBJECT: Kind = { expected: 'an object', is: isObject }
export const FUNCTION: Kind = { expected: 'a function', is: (value) => typeof value === 'function' }
export const MILLISECONDS: Kind = {
  expected: 'a number of milliseconds, 0 or more',
  is: (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0,
}
export const GROUP: Kind = {
  expected: 'a group id, such as 1',
  is: (value) => Number.isInteger(value) && Number(value) >= 0,
}
export const URLS: Kind = {
  expected: 'an array of postgres:// URLs',
  is: (value) => Array.isArray(value) && value.every((each) => typeof each === 'string'),
}
export const SIGNAL: Kind = {
  expected: 'an AbortSignal',
  is: (value) => hasMethods(value, 'addEventListener', 'throwIfAborted'),
}
export const LOGGER: Kind = {
  expected: 'an object with the methods info and warn',
  is: (value) => hasMethods(value, 'info', 'warn'),
}

export const oneOf = (...words: readonly string[]): Kind => ({
  expected: words.map((word) => `'${word}'`).join(' or '),
  is: (value) => words.some((word) => word === value),
})

/**
 * The types keep a TypeScript program from what this refuses; a JavaScript program has nothing else.
 * @throws CitusHaError `usage`, which names the option and never shows its value: it may have a password
 */
export function requireOptions<Options extends { readonly coordinators: readonly string[] }>(
  given: Options,
  kinds: Kinds<Options>,
): void {
  const options: unknown = given
  if (!isObject(options))
    throw new CitusHaError('usage', 'expected an object of options, with coordinators at least')
  const known = new Map<string, Kind>(Object.entries<Kind>(kinds))
  for (const name of Object.keys(options)) {
    if (known.has(name)) continue
    const like = similarTo(name, [...known.keys()])
    throw new CitusHaError('usage', `unknown option ${name}${like === null ? '' : `; did you mean ${like}?`}`)
  }
  for (const [name, { expected, is }] of known) {
    const value = options[name]
    if (value === undefined && name !== 'coordinators') continue
    if (!is(value)) throw new CitusHaError('usage', `option ${name}: expected ${expected}`)
  }
}
