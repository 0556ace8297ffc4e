import type { StatusBody } from '../http/serve.ts'
import type { Told } from '../http/told.ts'
import type { Loop, Readiness } from '../watch/health.ts'

/** What the watcher has told so far, and whether it still tells. */
export interface Known {
  /** null: nothing was told yet. */
  readonly status: StatusBody | null
  readonly readiness: readonly Readiness[]
  readonly loops: readonly Loop[]
  /** What to add to this machine's clock for the watcher's, in milliseconds. */
  readonly clockMs: number
  /** `Date.now()` of the last answer; null: there was none. */
  readonly heardAt: number | null
  /** Why the watcher can't be asked now; null: it answers. */
  readonly lost: string | null
  /** Whether events come in. */
  readonly streams: boolean
  /** ISO 8601: since when the watcher keeps events. */
  readonly since: string | null
  /** The oldest first. */
  readonly told: readonly Told[]
}

const NOTHING: Known = {
  status: null,
  readiness: [],
  loops: [],
  clockMs: 0,
  heardAt: null,
  lost: null,
  streams: false,
  since: null,
  told: [],
}

const POLL_MS = 2000
/** After an event, for those that come with it. */
const SOON_MS = 100
const LIMIT_MS = 8000
const AGAIN_MS = 5000
const KEPT = 500
const KINDS: readonly Told['kind'][] = [
  'noticed',
  'diagnosed',
  'acted',
  'held',
  'failed',
  'leadership',
  'coordinator',
  'database',
  'fence',
]

/** Asks the watcher for as long as the page is open. */
export class Source {
  known: Known = NOTHING
  readonly #changed: (known: Known) => void
  /** Told of what happens while the page is open. */
  readonly #happened: (told: Told) => void
  #timer: number | undefined
  #asking = false
  /** Of the status that is known. */
  #tag = ''
  #run = ''
  readonly #seen = new Set<string>()
  #isLive = false

  constructor(changed: (known: Known) => void, happened: (told: Told) => void) {
    this.#changed = changed
    this.#happened = happened
  }

  start(): void {
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) void this.#ask()
    })
    void this.#ask()
    this.#listen()
  }

  #set(news: Partial<Known>): void {
    this.known = { ...this.known, ...news }
    this.#changed(this.known)
  }

  #askIn(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = window.setTimeout(() => void this.#ask(), ms)
  }

  async #ask(): Promise<void> {
    if (this.#asking) return
    this.#asking = true
    try {
      const [status, ready, health] = await Promise.all([
        read('status', this.#tag),
        read('readyz'),
        read('healthz'),
      ])
      this.#tag = status.tag
      this.#set({
        ...(status.body !== null && { status: status.body as StatusBody }),
        readiness: (ready.body as { databases: Readiness[] }).databases,
        loops: (health.body as { databases: Loop[] }).databases,
        clockMs: status.clockMs,
        heardAt: Date.now(),
        lost: null,
      })
    } catch (error) {
      this.#set({ lost: error instanceof Error ? error.message : String(error) })
    } finally {
      this.#asking = false
      this.#askIn(document.hidden ? 10 * POLL_MS : POLL_MS)
    }
  }

  #listen(): void {
    const events = new EventSource('events')
    events.addEventListener('open', () => this.#set({ streams: true }))
    events.addEventListener('error', () => {
      this.#isLive = false
      this.#set({ streams: false })
      if (events.readyState !== EventSource.CLOSED) return
      window.setTimeout(() => this.#listen(), AGAIN_MS)
    })
    events.addEventListener('hello', ({ data }) => {
      const { run, since } = JSON.parse(data) as { run: string; since: string }
      // Those of another run of the watcher have numbers of their own, and are told by nobody any more.
      this.#set(run === this.#run ? { since } : { since, told: [] })
      this.#run = run
    })
    events.addEventListener('live', () => {
      this.#isLive = true
      this.#askIn(SOON_MS)
    })
    for (const kind of KINDS) events.addEventListener(kind, (event) => this.#tell(event))
  }

  #tell({ data, lastEventId }: MessageEvent<string>): void {
    // A stream that had to be opened anew begins at the beginning.
    if (this.#seen.has(lastEventId)) return
    this.#seen.add(lastEventId)
    const told = JSON.parse(data) as Told
    this.#set({ told: [...this.known.told, told].slice(-KEPT) })
    if (!this.#isLive) return
    this.#happened(told)
    this.#askIn(SOON_MS)
  }
}

interface Answer {
  /** null: as it was. */
  readonly body: unknown
  readonly tag: string
  readonly clockMs: number
}

/**
 * 503 is an answer here: it says what is not known.
 * @param tag of what is known already
 * @throws Error in one line
 */
async function read(path: string, tag = ''): Promise<Answer> {
  const headers = tag === '' ? {} : { 'if-none-match': tag }
  const answer = await fetch(path, { headers, signal: AbortSignal.timeout(LIMIT_MS) }).catch(
    (error: unknown) => {
      const isLate = error instanceof Error && error.name === 'TimeoutError'
      throw new Error(isLate ? `no answer within ${LIMIT_MS / 1000} s` : 'it does not answer')
    },
  )
  const isSame = answer.status === 304
  if (!answer.ok && !isSame && answer.status !== 503)
    throw new Error(`it answers /${path} with ${answer.status}`)
  const date = Date.parse(answer.headers.get('date') ?? '')
  return {
    body: isSame ? null : await answer.json(),
    tag: answer.headers.get('etag') ?? '',
    clockMs: Number.isNaN(date) ? 0 : date - Date.now(),
  }
}
