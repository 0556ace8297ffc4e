// modules.mjs ROOT NAME…: the directories below ROOT of these packages and of all that they need to run, a line each.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const [root, ...names] = process.argv.slice(2)
const found = new Set()

/** As Node looks for it: beside whoever needs it, or further up. */
function find(name, from) {
  for (let at = from; ; at = at.slice(0, at.lastIndexOf('/node_modules/'))) {
    const path = join(at, 'node_modules', name)
    if (existsSync(join(root, path, 'package.json'))) return path
    if (!at.includes('/node_modules/') && at !== '') {
      const top = join('node_modules', name)
      return existsSync(join(root, top, 'package.json')) ? top : null
    }
    if (at === '') return null
  }
}

function add(name, from, isOptional) {
  const path = find(name, from)
  if (path === null && isOptional) return
  if (path === null) throw new Error(`${name}, which ${from || 'the program'} needs, is not installed`)
  if (found.has(path)) return
  found.add(path)
  const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
    readFileSync(join(root, path, 'package.json'), 'utf8'),
  )
  for (const each of Object.keys(dependencies)) add(each, path, each in optionalDependencies)
}

for (const name of names) add(name, '', false)
process.stdout.write([...found].sort().map((path) => `${path}\n`).join(''))
