import { writeFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { it } from 'vitest'
import { keysOf, standin } from '../support/clients.ts'
import { client, Scenario } from '../support/scenario.ts'
import { Watching } from '../support/watching.ts'

const FILE = new URL('../../docs/images/failover.svg', import.meta.url)
const ENTRIES = { coordinator: 'the coordinator', 'worker-2': 'another worker' } as const
/** Of the run, in milliseconds: from before the death to the end; when somebody promotes. */
const [BEFORE_MS, PROMOTED_MS, AFTER_MS] = [1000, 2000, 6000]

interface Statement {
  /** Milliseconds since the primary died. */
  readonly from: number
  readonly to: number
  readonly ok: boolean
}

type Lane = readonly Statement[]

/** Writes to group 1 without pause, on one session as an application has it, which is opened again when a write fails. */
async function write(scenario: Scenario, entry: string, key: number, signal: AbortSignal) {
  const done: { at: number; ended: number; ok: boolean }[] = []
  let session = await client(scenario.cluster.server(entry), scenario.cluster.database)
  while (!signal.aborted) {
    const at = performance.now()
    const ok = await session.query('UPDATE items SET note = $2 WHERE id = $1', [key, 'a write']).then(
      () => true,
      () => false,
    )
    done.push({ at, ended: performance.now(), ok })
    if (ok) continue
    await session.end().catch(() => undefined)
    await pause(10)
    session = await client(scenario.cluster.server(entry), scenario.cluster.database)
  }
  await session.end()
  return done
}

/** A primary dies, and its standby is promoted: what the writers saw, by entry. */
async function failover(scenario: Scenario, key: number): Promise<Readonly<Record<string, Lane>>> {
  const stop = new AbortController()
  const writing = Object.keys(ENTRIES).map(async (entry) => [
    entry,
    await write(scenario, entry, key, stop.signal),
  ])
  await pause(BEFORE_MS)
  const died = performance.now()
  await scenario.cluster.server('worker-1').kill()
  await pause(PROMOTED_MS - (performance.now() - died))
  await scenario.cluster.server('worker-1-standby').promote()
  await pause(AFTER_MS - (performance.now() - died))
  stop.abort()
  const lanes = Object.fromEntries(await Promise.all(writing)) as Record<
    string,
    { at: number; ended: number; ok: boolean }[]
  >
  return Object.fromEntries(
    Object.entries(lanes).map(([entry, done]) => [
      entry,
      done.map(({ at, ended, ok }) => ({ from: at - died, to: ended - died, ok })),
    ]),
  )
}

const WIDTH = 760
const [LEFT, RIGHT, TOP, STEP, HEIGHT] = [272, 20, 46, 34, 20]
const x = (ms: number) =>
  Math.round((LEFT + ((ms + BEFORE_MS) / (BEFORE_MS + AFTER_MS)) * (WIDTH - LEFT - RIGHT)) * 10) / 10

/** One bar for statements of one outcome in a row. */
function bars(lane: Lane): { readonly from: number; readonly to: number; readonly ok: boolean }[] {
  const joined: { from: number; to: number; ok: boolean }[] = []
  for (const { from, to, ok } of lane) {
    const last = joined.at(-1)
    if (last?.ok === ok) last.to = to
    else joined.push({ from: ok ? from : (last?.to ?? from), to, ok })
  }
  return joined
}

function drawn(
  runs: Readonly<Record<string, Readonly<Record<string, Lane>>>>,
  caption: readonly string[],
): string {
  const rows = Object.entries(runs).flatMap(([name, lanes]) =>
    Object.entries(ENTRIES).map(([entry, says]) => ({
      name: `${name} through ${says}`,
      lane: lanes[entry] ?? [],
    })),
  )
  const bottom = TOP + rows.length * STEP
  const seconds = Array.from({ length: (BEFORE_MS + AFTER_MS) / 1000 + 1 }, (_, n) => n - BEFORE_MS / 1000)
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${bottom + 62}" role="img" aria-label="${caption.join(' ')}">`,
    '<style>text{font:12px system-ui,sans-serif;fill:#444}.ok{fill:#2da44e}.failed{fill:#cf222e}line{stroke:#8884}.event{stroke:#888}',
    '@media (prefers-color-scheme:dark){text{fill:#bbb}}</style>',
    ...seconds.flatMap((second) => [
      `<line x1="${x(second * 1000)}" x2="${x(second * 1000)}" y1="${TOP - 6}" y2="${bottom}"/>`,
      `<text x="${x(second * 1000)}" y="${bottom + 16}" text-anchor="middle">${second} s</text>`,
    ]),
    ...[
      [0, 'the primary dies'],
      [PROMOTED_MS, 'its standby is promoted'],
    ].flatMap(([ms, says]) => [
      `<line class="event" x1="${x(Number(ms))}" x2="${x(Number(ms))}" y1="24" y2="${bottom}"/>`,
      `<text x="${x(Number(ms))}" y="18" text-anchor="middle">${says}</text>`,
    ]),
    ...rows.flatMap(({ name, lane }, n) => [
      `<text x="0" y="${TOP + n * STEP + 15}">${name}</text>`,
      ...bars(lane).map(
        ({ from, to, ok }) =>
          `<rect class="${ok ? 'ok' : 'failed'}" x="${x(from)}" y="${TOP + n * STEP}" width="${Math.max(0.5, x(to) - x(from)).toFixed(1)}" height="${HEIGHT}"/>`,
      ),
    ]),
    ...caption.map((line, n) => `<text x="0" y="${bottom + 38 + 16 * n}">${line}</text>`),
    '</svg>',
  ]
  return `${lines.join('\n')}\n`
}

it.skipIf(standin)('a failover, without citus-ha and with it, as a picture', async () => {
  const scenario = await Scenario.start({ settings: { 'citus.max_cached_connection_lifetime': '1s' } })
  try {
    const [key = 0] = await keysOf(scenario.cluster, 1, 1, 200)
    const without = await failover(scenario, key)
    await scenario.restore()
    const watching = await Watching.start(scenario)
    const beside = await failover(scenario, key)
    await watching.stop()
    const failed = (lanes: typeof beside) =>
      Object.values(lanes).flatMap((lane) => lane.filter(({ ok, to }) => !ok && to > PROMOTED_MS))
    const lastMs = Math.max(...failed(beside).map(({ to }) => to - PROMOTED_MS))
    const caption = [
      `Writes to the group of the dead primary, on ${scenario.cluster.describe()}: green succeeded, red failed.`,
      `With citus-ha watch the last one failed ${Math.round(lastMs)} ms after the promotion was asked for; without, pg_dist_node stays as it is.`,
    ]
    const picture = drawn({ 'without citus-ha,': without, 'with citus-ha watch,': beside }, caption)
    await writeFile(FILE, picture)
    process.stdout.write(`${caption.join('\n')}\n`)
  } finally {
    await scenario.stop()
  }
})
