import type pg from 'pg'
import type { Write } from './clients.ts'

/** What pg calls on whatever is submitted to it; its types know the first alone. */
interface Replies {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** pg's connection as its own `Query` uses it; the types leave these out. */
interface CopyConnection {
  query(text: string): void
  sendCopyFromChunk(chunk: Buffer): void
  endCopyFrom(): void
}

/** One `COPY … FROM STDIN`, by the protocol: the rows go once the server asks for them. */
class CopyIn {
  readonly #text: string
  readonly #rows: string
  readonly #replies: Replies

  constructor(text: string, rows: string, replies: Replies) {
    this.#text = text
    this.#rows = rows
    this.#replies = replies
  }

  submit(connection: unknown): void {
    ;(connection as CopyConnection).query(this.#text)
  }

  handleCopyInResponse(connection: CopyConnection): void {
    connection.sendCopyFromChunk(Buffer.from(this.#rows))
    connection.endCopyFrom()
  }

  handleCommandComplete(): void {}

  handleReadyForQuery(): void {
    this.#replies.resolve()
  }

  handleError(error: Error): void {
    this.#replies.reject(error)
  }
}

/** Any `COPY … FROM STDIN`, with these rows as PostgreSQL's text format has them. */
export const copyIn = (session: pg.Client, text: string, rows: string) =>
  new Promise<void>((resolve, reject) => {
    session.query(new CopyIn(text, rows, { resolve, reject }) as pg.Submittable)
  })

/** A row that the client itself sends. */
export const copiedIn: Write = (session, id) => copyIn(session, 'COPY items FROM STDIN', `${id}\tcopied in\n`)
