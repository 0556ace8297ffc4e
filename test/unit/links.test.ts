import { existsSync, readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { dirname, join, normalize } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = new URL('../..', import.meta.url).pathname
const found = await readdir(join(ROOT, 'docs'), { recursive: true })
const PAGES = [
  ...['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md', 'sql/functions/README.md'],
  ...found.filter((name) => name.endsWith('.md')).map((name) => join('docs', name)),
]
const textOf = (page: string) => readFileSync(join(ROOT, page), 'utf8').replaceAll(/```[\s\S]*?```/g, '')

/** What a heading can be linked to by, as GitHub makes it. */
function anchorsOf(page: string): string[] {
  const made = new Map<string, number>()
  return [...textOf(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => {
    const plain = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
    const slug = plain.replaceAll(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-')
    const many = made.get(slug) ?? 0
    made.set(slug, many + 1)
    return many === 0 ? slug : `${slug}-${many}`
  })
}

test.each(PAGES)('%s: what its links name is there', (page) => {
  const targets = [...textOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)
  const broken = targets.filter((target) => {
    if (/^[a-z]+:/.test(target)) return false
    const [path = '', anchor] = target.split('#')
    const file = path === '' ? page : normalize(join(dirname(page), path))
    if (!existsSync(join(ROOT, file))) return true
    return anchor !== undefined && !anchorsOf(file).includes(anchor)
  })
  expect(broken).toEqual([])
})

test('the README fits on two screens', () => {
  expect(readFileSync(join(ROOT, 'README.md'), 'utf8').split('\n').length).toBeLessThanOrEqual(101)
})
