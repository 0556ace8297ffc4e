import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { expect } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import type { WatchProcess } from './watch-process.ts'

export const TOKEN = 'a-token-of-enough-characters'

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

export interface Answered {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: it is held against the document, and read by assertions.
  readonly body: any
}

/** One event of `/v1/events`. */
export type Told = Readonly<Record<string, unknown>> & { readonly kind: string }

/** Somebody who gives orders to a watcher, and holds every answer against the watcher's own OpenAPI document. */
export class Controller {
  readonly base: string
  token = TOKEN
  readonly #document: Document
  readonly #ajv: Ajv2020
  readonly #checks = new Map<string, ValidateFunction>()
  readonly #stop = new AbortController()
  /** How many answers of each operation were held against the document. */
  readonly checked = new Map<string, number>()

  private constructor(base: string, document: Document) {
    this.base = base
    this.#document = document
    this.#ajv = new Ajv2020({ strict: false })
    this.#ajv.addSchema(document, 'openapi')
  }

  /** Of a watcher that was started with `control: { listen: '127.0.0.1:0', token }`. */
  static async of(watch: WatchProcess, from = 0): Promise<Controller> {
    const { msg } = await watch.says('taking orders at ', from)
    const base = msg.replace('taking orders at ', '')
    const headers = { authorization: `Bearer ${TOKEN}` }
    const answer = await fetch(`${base}/v1/openapi.json`, { headers })
    return new Controller(base, (await answer.json()) as Document)
  }

  async get(path: string): Promise<Answered> {
    return await this.#ask('GET', path, {})
  }

  async post(path: string, body: object, signal?: AbortSignal): Promise<Answered> {
    const headers = { 'content-type': 'application/json' }
    return await this.#ask('POST', path, { headers, body: JSON.stringify(body), ...(signal && { signal }) })
  }

  async #ask(method: string, path: string, init: RequestInit): Promise<Answered> {
    const headers = { ...(init.headers as object), authorization: `Bearer ${this.token}` }
    const signal = init.signal ?? AbortSignal.timeout(60_000)
    const answer = await fetch(this.base + path, { ...init, method, headers, signal })
    const body: unknown = await answer.json()
    this.#hold(method.toLowerCase(), path, answer.status, body)
    return { status: answer.status, body }
  }

  #hold(method: string, path: string, status: number, body: unknown): void {
    const [bare = ''] = path.split('?')
    const template = Object.keys(this.#document.paths).find((each) =>
      new RegExp(`^${each.replace(/\{\w+\}/g, '[^/]+')}$`).test(bare),
    )
    if (template === undefined) throw new Error(`the document has no ${bare}`)
    const keys = ['paths', template, method, 'responses', '200', 'content', 'application/json', 'schema']
    const where = status === 200 ? keys : ['components', 'schemas', 'Error']
    this.#check(where, body)
    const operation = `${method} ${template} ${status}`
    this.checked.set(operation, (this.checked.get(operation) ?? 0) + 1)
  }

  #check(where: readonly string[], given: unknown): void {
    const pointer = where
      .map((key) => encodeURIComponent(key.replaceAll('~', '~0').replaceAll('/', '~1')))
      .join('/')
    const check = this.#checks.get(pointer) ?? this.#ajv.compile({ $ref: `openapi#/${pointer}` })
    this.#checks.set(pointer, check)
    expect(check(given), `${JSON.stringify(check.errors)} in ${JSON.stringify(given)}`).toBe(true)
  }

  /** Listens to `/v1/events`, and holds each against the document too; those so far are in the list. */
  async events(): Promise<Told[]> {
    const headers = { authorization: `Bearer ${this.token}` }
    const answer = await fetch(`${this.base}/v1/events`, { headers, signal: this.#stop.signal })
    const events: Told[] = []
    let open = ''
    void (async () => {
      for await (const piece of answer.body ?? []) {
        const blocks = (open + Buffer.from(piece).toString()).split('\n\n')
        open = blocks.pop() ?? ''
        for (const block of blocks) {
          const data = /^data: (.*)$/m.exec(block)?.[1]
          if (data !== undefined) events.push(JSON.parse(data))
        }
      }
    })().catch(() => undefined)
    return events
  }

  /** Waits for one that is like this. */
  async hears(events: readonly Told[], like: Readonly<Record<string, unknown>>): Promise<Told> {
    const found = await waitUntil(`an event ${JSON.stringify(like)}`, () =>
      events.find((event) => Object.entries(like).every(([key, value]) => event[key] === value)),
    )
    for (const event of events) this.#check(['components', 'schemas', 'Event'], event)
    return found
  }

  stop(): void {
    this.#stop.abort()
  }
}
