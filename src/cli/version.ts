import { readFileSync } from 'node:fs'
import { currentMigration } from '../install/migrations.ts'

/** A file of this package: the same two steps up from `src/cli` and from `dist/bin`. */
export function packageFile(path: string): URL {
  return new URL(`../../${path}`, import.meta.url)
}

export function packageVersion(): string {
  const text = readFileSync(packageFile('package.json'), 'utf8')
  const { version } = JSON.parse(text) as { readonly version: string }
  return version
}

/** What the bundle was built of, which has it beside itself; null: it is not a bundle, or of no repository. */
function commit(): string | null {
  try {
    return readFileSync(new URL('./COMMIT', import.meta.url), 'utf8').trim()
  } catch {
    return null
  }
}

/** Of this program, for whoever reports what it did. */
export function aboutProgram() {
  return {
    version: packageVersion(),
    commit: commit(),
    migration: currentMigration(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
  }
}

/** The same in one line, whose first word is the version. */
export function versionLine(): string {
  const { version, commit: built, migration, node, platform } = aboutProgram()
  const of = built === null ? '' : `commit ${built}, `
  return `${version} (${of}schema citus_ha migration ${migration}, Node.js ${node} on ${platform})`
}
