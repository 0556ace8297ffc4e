#!/usr/bin/env node
import { writeSync } from 'node:fs'
import { tooManyFiles } from './model/too-many-files.ts'

// A password inside a URL would be there for everybody to see in the list of processes.
process.title = 'citus-ha'

// Loaded from here, and not before this file: what keeps a part of the program from being read is an error like any other.
try {
  const { runProcess } = await import('./cli/process.ts')
  await runProcess((code) => process.exit(code))
} catch (error) {
  const line = tooManyFiles(error)
  if (line === null) throw error
  writeSync(2, `citus-ha: ${line}\n`)
  process.exit(2)
}
