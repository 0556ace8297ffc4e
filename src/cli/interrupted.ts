const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

/** Why the work was given up: a person's Ctrl-C, a service manager's SIGTERM, or a terminal's end. */
export class Interrupted extends Error {
  override readonly name = 'AbortError'
  /** 128 and the signal's number, as a shell tells it. */
  readonly exitCode: number

  constructor(signal: keyof typeof EXIT_CODES) {
    super('interrupted')
    this.exitCode = EXIT_CODES[signal]
  }
}

/** @returns null: nobody has interrupted it, or not by a signal */
export function exitCodeOfInterruption({ aborted, reason }: AbortSignal): number | null {
  return aborted && reason instanceof Interrupted ? reason.exitCode : null
}

/** The work's own outcome, unless it is given up before: then that, at once. What the work still throws is nobody's. */
export async function unlessInterrupted<T>(
  work: Promise<T>,
  signal: AbortSignal,
  mayGiveUp: () => boolean,
): Promise<T> {
  const end = new AbortController()
  const given = new Promise<never>((_, reject) => {
    const giveUp = () => {
      if (mayGiveUp()) reject(signal.reason)
    }
    signal.addEventListener('abort', giveUp, { once: true, signal: end.signal })
    if (signal.aborted) giveUp()
  })
  try {
    return await Promise.race([work, given])
  } finally {
    end.abort()
    work.catch(() => undefined)
  }
}
