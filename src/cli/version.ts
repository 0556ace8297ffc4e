import { readFileSync } from 'node:fs'

/** A file of this package: the same two steps up from `src/cli` and from `dist/bin`. */
export function packageFile(path: string): URL {
  return new URL(`../../${path}`, import.meta.url)
}

export function packageVersion(): string {
  const text = readFileSync(packageFile('package.json'), 'utf8')
  const { version } = JSON.parse(text) as { readonly version: string }
  return version
}
