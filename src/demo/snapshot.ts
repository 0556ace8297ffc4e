import {
  chownSync,
  constants,
  copyFileSync,
  type Dirent,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmSync,
  utimesSync,
} from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Account } from './account.ts'
import { copyCold } from './data-directory.ts'
import type { Member } from './replication.ts'
import type { Server } from './server.ts'
import { all } from './wait.ts'

// A file that still has this time, inode and size was not written since we last looked.
const UNTOUCHED = new Date('2000-01-01T00:00:00Z')

/**
 * A copy of a directory that can be put back again and again. Files that nobody wrote in between are left
 * alone, which makes putting back a data directory a matter of milliseconds.
 *
 * Putting back blocks the event loop on purpose: nothing else of a cluster goes on meanwhile, and thousands of small
 * asynchronous calls take several times as long.
 */
class DirectorySnapshot {
  readonly #live: string
  readonly #copy: string
  readonly #account: Account | null
  readonly #untouched = new Map<string, string>()

  constructor(live: string, copy: string, account: Account | null) {
    this.#live = live
    this.#copy = copy
    this.#account = account
  }

  /** Copies the directory; nobody may write to it meanwhile. */
  async take(): Promise<void> {
    this.drop()
    this.#untouched.clear()
    await copyCold(this.#live, this.#copy)
    this.#markAll('')
  }

  /** Makes the directory what it was. */
  restore(): void {
    this.#restoreTo('')
  }

  /** Removes the copy. */
  drop(): void {
    rmSync(this.#copy, { recursive: true, force: true })
  }

  #markAll(inside: string): void {
    for (const entry of readdirSync(join(this.#live, inside), { withFileTypes: true })) {
      const path = join(inside, entry.name)
      if (entry.isDirectory()) this.#markAll(path)
      else this.#mark(path)
    }
  }

  #restoreTo(inside: string): void {
    const wanted = readdirSync(join(this.#copy, inside), { withFileTypes: true })
    this.#removeOthers(inside, wanted)
    for (const entry of wanted) {
      const path = join(inside, entry.name)
      if (entry.isDirectory()) this.#restoreTo(path)
      else if (this.#untouched.get(path) !== this.#state(path)) this.#putBack(path)
    }
  }

  #removeOthers(inside: string, wanted: readonly Dirent[]): void {
    const directory = join(this.#live, inside)
    const kinds = new Map(wanted.map((entry) => [entry.name, entry.isDirectory()]))
    const existing = lstatSync(directory, { throwIfNoEntry: false })
    if (existing === undefined) {
      mkdirSync(directory, { mode: 0o700 })
      this.#own(directory)
    }
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (kinds.get(entry.name) === entry.isDirectory()) continue
      rmSync(join(directory, entry.name), { recursive: true, force: true })
    }
  }

  #putBack(path: string): void {
    const target = join(this.#live, path)
    copyFileSync(join(this.#copy, path), target, constants.COPYFILE_FICLONE)
    this.#own(target)
    this.#mark(path)
  }

  #own(path: string): void {
    if (this.#account) chownSync(path, this.#account.uid, this.#account.gid)
  }

  #mark(path: string): void {
    utimesSync(join(this.#live, path), UNTOUCHED, UNTOUCHED)
    const state = this.#state(path)
    if (state !== null) this.#untouched.set(path, state)
  }

  #state(path: string): string | null {
    const stat = lstatSync(join(this.#live, path), { throwIfNoEntry: false })
    return stat ? `${stat.ino} ${stat.size} ${stat.mtimeMs}` : null
  }
}

/** What a cluster remembers of itself for `restore`. */
export interface Saved {
  readonly members: readonly Member[]
  readonly directories: readonly DirectorySnapshot[]
  readonly running: ReadonlySet<Server>
}

/** Copies every server's data directory below `root`; the servers have to be stopped. */
export async function takeAll(
  servers: readonly Server[],
  root: string,
  account: Account | null,
): Promise<DirectorySnapshot[]> {
  const directories = servers.map(
    ({ name, directory }) => new DirectorySnapshot(directory, join(root, name), account),
  )
  await mkdir(root, { recursive: true, mode: 0o700 })
  await all(directories.map((directory) => directory.take()))
  return directories
}
