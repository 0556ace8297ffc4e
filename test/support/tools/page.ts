import { readFile } from 'node:fs/promises'

/**
 * The n-th fenced block of a language on a page of `docs/`, as people copy it, with the example's names replaced.
 * @throws Error where there is none, or a name does not occur
 */
export async function blockOf(
  page: string,
  language: string,
  n: number,
  names: Readonly<Record<string, string>>,
): Promise<string> {
  const text = await readFile(new URL(`../../../docs/${page}`, import.meta.url), 'utf8')
  const blocks = [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))]
  const block = blocks[n]?.[1]
  if (block === undefined) throw new Error(`docs/${page} has no block ${n} of ${language}`)
  return Object.entries(names).reduce((changed, [name, value]) => {
    if (!changed.includes(name)) throw new Error(`${name} is not in block ${n} of docs/${page}`)
    return changed.replaceAll(name, value)
  }, block)
}
