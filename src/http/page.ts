import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { CitusHaError } from '../model/failure.ts'
import type { WatchEvent } from '../watch/event.ts'
import { answer } from './listener.ts'
import { Recent } from './recent.ts'
import { EventStreams } from './streams.ts'
import { type GroupOf, toldOf } from './told.ts'

const FILES = {
  '/': { file: 'index.html', type: 'text/html; charset=utf-8' },
  '/app.js': { file: 'app.js', type: 'text/javascript; charset=utf-8' },
  '/app.css': { file: 'app.css', type: 'text/css; charset=utf-8' },
} as const

export type PagePath = keyof typeof FILES
export const PAGE_PATHS = Object.keys(FILES) as PagePath[]

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')

/** Of everything that a browser is shown here. */
const SAFE = {
  'content-security-policy': POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
}

/** Of the listener's 100 places; without a sign of life a connection is ended after 10 s. */
const LISTENERS = 20
const HEARTBEAT_MS = 4_000
/** Then the page comes again, with what it has seen: nobody keeps a place for ever. */
const LIFE_MS = 10 * 60_000

/** The page that shows the cluster, and the events that it lives on. */
export class Page {
  readonly #files: ReadonlyMap<PagePath, Buffer>
  readonly #recent = new Recent()
  readonly #streams = new EventStreams({
    listeners: LISTENERS,
    heartbeatMs: HEARTBEAT_MS,
    lifeMs: LIFE_MS,
  })
  #names: ReadonlySet<string>

  private constructor(files: ReadonlyMap<PagePath, Buffer>, names: readonly string[]) {
    this.#files = files
    this.#names = nameSet(names)
  }

  /**
   * Reads the page, once.
   * @param names under which it may be asked for, beside `localhost` and any IP address
   * @throws CitusHaError where it is not there, in one line
   */
  static async open(names: readonly string[]): Promise<Page> {
    const files = await Promise.all(
      PAGE_PATHS.map(async (path) => [path, await readBuilt(FILES[path].file)] as const),
    )
    return new Page(new Map(files), names)
  }

  /** From now on it may be asked for under these names. */
  rename(names: readonly string[]): void {
    this.#names = nameSet(names)
  }

  told(event: WatchEvent, groupOf: GroupOf): void {
    const told = toldOf(event, new Date().toISOString(), groupOf)
    if (told) this.#streams.send(this.#recent.add(told))
  }

  /**
   * A name that somebody has made lead here (DNS rebinding), or another site's page, is refused.
   * @returns whether it was, and is answered
   */
  refuses({ headers }: FastifyRequest, reply: FastifyReply): boolean {
    reply.headers(SAFE)
    const host = hostIn(headers.host ?? '')
    if (host === null || !this.#isKnown(host)) {
      const error = 'nothing is shown under this name: name it under http.hosts'
      answer(reply, 421, { error })
      return true
    }
    const { origin } = headers
    const site = headers['sec-fetch-site']
    const isForeign = site === 'cross-site' || site === 'same-site'
    const navigates = headers['sec-fetch-mode'] === 'navigate'
    if ((isForeign && !navigates) || (origin !== undefined && !this.#isOwn(origin, headers.host ?? ''))) {
      answer(reply, 403, { error: 'this is not for pages of other sites' })
      return true
    }
    return false
  }

  file(path: PagePath, reply: FastifyReply): FastifyReply {
    return reply.type(FILES[path].type).send(this.#files.get(path))
  }

  /** Answers `/events`, until the client goes. */
  stream(request: FastifyRequest, reply: FastifyReply): void {
    const after = String(request.headers['last-event-id'] ?? '')
    this.#streams.makeRoom()
    reply.hijack()
    this.#streams.add(reply.raw, SAFE, this.#recent.since(after))
  }

  close(): void {
    this.#streams.close()
  }

  #isKnown(host: string): boolean {
    return isIP(host) !== 0 || this.#names.has(host)
  }

  /** Of this listener, or of what stands before it under a configured name. */
  #isOwn(origin: string, host: string): boolean {
    const url = URL.canParse(origin) ? new URL(origin) : null
    if (url === null || !/^https?:$/.test(url.protocol)) return false
    const own = URL.canParse(`${url.protocol}//${host}`) ? new URL(`${url.protocol}//${host}`).host : null
    // At an address, and at localhost, each port is somebody else's.
    const isNamed = url.hostname !== 'localhost' && isIP(url.hostname) === 0
    return url.host === own || (isNamed && this.#names.has(url.hostname))
  }
}

function nameSet(names: readonly string[]): ReadonlySet<string> {
  return new Set(['localhost', ...names.map((name) => name.toLowerCase())])
}

/** Without its port, and without brackets. @returns null for what is no host */
function hostIn(header: string): string | null {
  const match = /^(?:\[([\da-f:.]+)\]|([^\s:@/?#[\]]+))(?::\d{1,5})?$/i.exec(header)
  return (match?.[1] ?? match?.[2])?.toLowerCase() ?? null
}

/** Two levels below the package's root, as this module is, bundled or not. */
async function readBuilt(file: string): Promise<Buffer> {
  return await readFile(new URL(`../../dist/page/${file}`, import.meta.url)).catch(
    (error: NodeJS.ErrnoException) => {
      const why = error.code ?? error.message
      throw new CitusHaError('configuration', `the page cannot be read: dist/page/${file}: ${why}`, {
        cause: error,
      })
    },
  )
}
