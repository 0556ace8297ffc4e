import { type Io, type Output, plain, through, widthFor } from './io.ts'
import { tellDetail } from './tell.ts'

/** What takes no longer is not spoken of, in milliseconds. */
const SHOWN_AFTER_MS = 1000

const CLEAR_LINE = '\r\u001b[K'

type Seen = Pick<Io, 'stderr' | 'env' | 'verbosity'>

/**
 * Whom a command waits for, in one line below all that it has said: on a terminal, for as long as it is so, and never with
 * `-q`. With `-v` and no terminal a line of its own each time.
 */
export class Waiting {
  readonly #io: Seen
  /** What has taken long enough to be shown, and how long it may, in milliseconds. */
  readonly #late = new Map<symbol, { readonly on: string; readonly limitMs: number }>()
  #isShown = false
  #isOver = false

  constructor(io: Seen) {
    this.#io = io
  }

  /**
   * @param on whom is waited for
   * @param limitMs at most, in milliseconds
   * @returns to be called when that is over
   */
  begin(on: string, limitMs: number): () => void {
    const wait = Symbol(on)
    const timer = setTimeout(() => {
      if (this.#isOver) return
      this.#late.set(wait, { on, limitMs })
      if (this.#hasLine) this.#show()
      else tellDetail(this.#io, lineOf([on], limitMs))
    }, SHOWN_AFTER_MS).unref()
    return () => {
      clearTimeout(timer)
      if (this.#late.delete(wait) && this.#isShown) this.#show()
    }
  }

  /** The same output; what is written on it stands above the line. */
  above(output: Output): Output {
    const pass = (text: string, write: (text: string) => void) => {
      const wasShown = this.#isShown
      this.clear()
      write(text)
      if (wasShown && text.endsWith('\n')) this.#show()
    }
    return through(output, pass, pass)
  }

  /** Takes the line away until there is something new. */
  clear(): void {
    if (this.#isShown) this.#io.stderr.write(CLEAR_LINE)
    this.#isShown = false
  }

  /** What is left to be waited for is nobody's concern any more. */
  end(): void {
    this.clear()
    this.#isOver = true
  }

  get #hasLine(): boolean {
    const { stderr, env, verbosity } = this.#io
    return stderr.isTTY === true && env.TERM !== 'dumb' && verbosity?.level !== 'quiet'
  }

  #show(): void {
    this.clear()
    if (this.#late.size === 0) return
    const waits = [...this.#late.values()]
    const names = [...new Set(waits.map(({ on }) => on))]
    const { stderr, env } = this.#io
    const width = widthFor(stderr, env) ?? 80
    stderr.write(lineOf(names, Math.max(...waits.map(({ limitMs }) => limitMs))).slice(0, width - 1))
    this.#isShown = true
  }
}

function lineOf(names: readonly string[], limitMs: number): string {
  const [first = '', ...others] = names.map(plain)
  const more = others.length === 0 ? '' : ` and ${others.length === 1 ? others[0] : `${others.length} more`}`
  return `waiting for ${first}${more} (${Math.round(limitMs / 100) / 10} s at most)`
}
