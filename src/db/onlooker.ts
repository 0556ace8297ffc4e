/** How the bytes go to a server. */
export interface Wire {
  /** null: not known. */
  readonly ip: string | null
  /** The version of TLS, such as `TLSv1.3`; null: without TLS. */
  readonly tls: string | null
}

/** Told, for people, what becomes of one connection. It changes nothing, and must not throw. */
export interface Onlooker {
  /** The way to the server is open; again where the other way is tried. */
  wired(wire: Wire): void
  /** The server's answer is waited for, `limitMs` milliseconds at most. @returns to be called when it is waited for no longer */
  waits(limitMs: number): () => void
  /** The server has answered for the first time; or the connection came to nothing, with the error why. Told once. */
  tried(error: unknown): void
}
