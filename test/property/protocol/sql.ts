/** The statements of one message. */
export function split(message: string): string[] {
  const spoken = message.replace(/^--.*$/gm, '')
  return (spoken.match(/(?:'(?:[^']|'')*'|[^;'])+/g) ?? []).map((text) => text.trim()).filter((text) => text)
}

/** The string literals of a statement, as values. */
export function strings(statement: string): string[] {
  return [...statement.matchAll(/(E?)'((?:[^']|'')*)'/g)].map(([, escaped, body]) => {
    const text = (body ?? '').replaceAll("''", "'")
    return escaped ? text.replaceAll('\\\\', '\\') : text
  })
}

export function json<T>(statement: string, n = 0): T {
  return JSON.parse(strings(statement)[n] ?? 'null') as T
}

export function numbers(statement: string): number[] {
  return [...statement.replace(/'(?:[^']|'')*'/g, '').matchAll(/-?\d+/g)].map(([digits]) => Number(digits))
}

export function intArray(literal: string | undefined): number[] {
  return (literal ?? '').replace(/[{}]/g, '').split(',').filter(Boolean).map(Number)
}

/** Not an answer but the end of the test: the product has learnt something that the simulation has to learn. */
export function unknownStatement(statement: string): never {
  throw new Error(`the simulated server does not know: ${statement.slice(0, 200)}`)
}
