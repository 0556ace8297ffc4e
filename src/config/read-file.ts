import { constants, createReadStream, type Stats } from 'node:fs'
import { open, stat } from 'node:fs/promises'

/** More than any of them needs; bytes. */
const LIMIT = 16 * 1024 * 1024

/** What the shell or whoever else has opened for us, as with `--config <(…)`. */
const OPENED = /^\/(?:dev\/(?:fd\/\d+|stdin|null)|proc\/(?:self|\d+)\/fd\/\d+)$/

interface Read {
  readonly bytes: Buffer
  /** Of the very file that was read. */
  readonly stats: Stats
}

/**
 * Reads a file that a setting names: a regular one, or what was opened for us. A named pipe may have nobody who writes, and
 * would be waited for without an end.
 * @throws an error that `whyUnreadable` says in words
 */
export async function readGiven(path: string): Promise<Read> {
  return OPENED.test(path) ? await readOpened(path) : await readRegular(path)
}

/**
 * Reads a regular file, and waits for no other.
 * @throws an error that `whyUnreadable` says in words
 */
export async function readRegular(path: string): Promise<Read> {
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  try {
    const stats = await file.stat()
    if (stats.isDirectory()) throw refusal('EISDIR')
    if (!stats.isFile()) throw refusal('ENXIO')
    if (stats.size > LIMIT) throw refusal('EFBIG')
    return { bytes: await file.readFile(), stats }
  } finally {
    await file.close()
  }
}

async function readOpened(path: string): Promise<Read> {
  const stats = await stat(path)
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > LIMIT) throw refusal('EFBIG')
    chunks.push(chunk)
  }
  return { bytes: Buffer.concat(chunks), stats }
}

function refusal(code: keyof typeof WHY): NodeJS.ErrnoException {
  return Object.assign(new Error(WHY[code]), { code })
}

const WHY = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'is a directory',
  // What Linux says of a socket that is opened.
  ENXIO: 'not a regular file',
  EFBIG: 'larger than 16 MiB',
} as const

/** Why a file could not be read, in a few words. */
export function whyUnreadable(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return WHY[code as keyof typeof WHY] ?? `cannot be read (${code ?? message})`
}

/** Whether there is no such file. */
export function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOENT' || code === 'ENOTDIR'
}
