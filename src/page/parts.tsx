import type { ComponentChildren } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { Tone } from './cluster.ts'
import { agoText, clockText } from './format.ts'

const SIGNS: Readonly<Record<Tone, { readonly path: string; readonly word: string }>> = {
  good: { path: 'M3.5 8.5l3 3 6-7', word: 'well' },
  warn: { path: 'M8 3v6M8 12v.5', word: 'warning' },
  bad: { path: 'M4 4l8 8M12 4l-8 8', word: 'wrong' },
  off: { path: 'M4 8h8', word: 'out of service' },
  unknown: { path: 'M5.5 5.5a2.5 2.5 0 1 1 2.5 3v1.5M8 12.5v.5', word: 'not known' },
}

/** A shape of its own for each tone, with a word for those who do not see it. */
export function Sign({ tone }: { readonly tone: Tone }) {
  const { path, word } = SIGNS[tone]
  return (
    <svg class={`sign ${tone}`} viewBox="0 0 16 16" role="img" aria-label={word}>
      <path d={path} />
    </svg>
  )
}

/** Something that opens by a click, Enter or Space, and closes by Escape as well. */
export function Fold(props: {
  readonly summary: ComponentChildren
  readonly children: ComponentChildren
  readonly class?: string
}) {
  return (
    <details class={props.class}>
      <summary>{props.summary}</summary>
      {props.children}
    </details>
  )
}

const COPIED_MS = 2000

/** A command, and a button that copies it. */
export function Command({ text, say }: { readonly text: string; readonly say: (line: string) => void }) {
  const [copied, setCopied] = useState(false)
  const word = copied ? 'Copied' : 'Copy'
  const copy = async () => {
    await copyText(text)
    setCopied(true)
    say('Copied')
    setTimeout(() => setCopied(false), COPIED_MS)
  }
  return (
    <span class="command">
      <code>{text}</code>
      <button type="button" aria-label={`${word}: ${text}`} onClick={() => void copy()}>
        {word}
      </button>
    </span>
  )
}

/** Without TLS, and from another machine, a browser has no clipboard for scripts but the old one. */
async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) return await navigator.clipboard.writeText(text)
  const area = document.createElement('textarea')
  area.value = text
  document.body.append(area)
  area.select()
  document.execCommand('copy')
  area.remove()
}

/** Milliseconds between two looks at the clock. */
const TICK_MS = 1000

/** How long ago that is, by the watcher's clock, and always anew. */
export function Age({ of, clockMs }: { readonly of: string; readonly clockMs: number }) {
  const [now, setNow] = useState(Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), TICK_MS)
    return () => clearInterval(timer)
  }, [])
  return <time dateTime={of}>{agoText(Math.max(now, Date.now()) + clockMs - Date.parse(of))}</time>
}

export function Clock({ at }: { readonly at: string }) {
  return (
    <time class="clock" dateTime={at}>
      {clockText(at)}
    </time>
  )
}

export function Lines({ lines }: { readonly lines: readonly string[] }) {
  return (
    <ul class="lines">
      {lines.map((line) => (
        <li key={line}>{line}</li>
      ))}
    </ul>
  )
}
