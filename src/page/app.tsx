import { render } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { type ClusterView, clusterView, type GroupView, matches, type RemarkView } from './cluster.ts'
import { bytesText, clockText, countText } from './format.ts'
import { GroupCard, GroupTile, Node } from './groups.tsx'
import { Changes, Stories } from './news.tsx'
import { Age, Command, Lines, Sign } from './parts.tsx'
import { type Known, Source } from './source.ts'
import { announcementOf, changesOf, storiesOf } from './stories.ts'

/** With more groups than this, those that are well are one line each. */
const SHOWN_WHOLE = 8

type Say = (line: string) => void

/** A line for those who hear the page. */
interface Said {
  readonly n: number
  readonly line: string
}

/** What comes at once is heard in a row, and not the last of it alone. */
const SAID_KEPT = 8

function App() {
  const [said, setSaid] = useState<readonly Said[]>([])
  const [known, setKnown] = useState<Known | null>(null)
  const [wanted, setWanted] = useState<string | null>(null)
  const say = (line: string) =>
    setSaid((before) => [...before, { n: (before.at(-1)?.n ?? 0) + 1, line }].slice(-SAID_KEPT))
  useEffect(() => {
    const source = new Source(setKnown, (told) => {
      const line = announcementOf(told)
      if (line !== null) say(line)
    })
    source.start()
    addEventListener('keydown', closeByEscape)
  }, [])
  const isLost = known !== null && known.lost !== null
  useEffect(() => {
    if (known?.heardAt) say(isLost ? 'The connection to the watcher is lost' : 'Connected to the watcher')
  }, [isLost, known?.heardAt === null])
  const databases = known?.status?.databases ?? []
  const status = databases.find(({ database }) => database === wanted) ?? databases[0]
  const view = useMemo(
    () => status && clusterView(status, known?.status?.fences),
    [status, known?.status?.fences],
  )
  useEffect(() => {
    document.title = view
      ? `${view.tone === 'good' ? '' : '! '}${view.database}: ${view.verdict}`
      : 'citus-ha'
  }, [view?.verdict])
  return (
    <>
      <a class="skip" href="#cluster">
        Skip to the cluster
      </a>
      <header class="top">
        <h1>
          citus-ha
          {view && databases.length < 2 && <span class="database">{view.database}</span>}
        </h1>
        {view && databases.length > 1 && (
          <label>
            Database{' '}
            <select value={view.database} onChange={({ currentTarget }) => setWanted(currentTarget.value)}>
              {databases.map(({ database }) => (
                <option key={database}>{database}</option>
              ))}
            </select>
          </label>
        )}
        {known && <Connection known={known} view={view ?? null} />}
      </header>
      <div class="hidden" role="log" aria-live="polite" aria-label="News">
        {said.map(({ n, line }) => (
          <p key={n}>{line}</p>
        ))}
      </div>
      <main>
        {known && <Trouble known={known} />}
        {view && known ? (
          <Cluster view={view} known={known} say={say} />
        ) : (
          <p class="quiet">
            {known?.heardAt ? 'The watcher has not looked at the cluster yet.' : 'The watcher is asked …'}
          </p>
        )}
      </main>
    </>
  )
}

/** Whatever is open around what has the focus. */
function closeByEscape({ key, target }: KeyboardEvent): void {
  const open = key === 'Escape' && target instanceof Element ? target.closest('details[open]') : null
  if (!open) return
  open.removeAttribute('open')
  open.querySelector('summary')?.focus()
}

const LEADERSHIP = {
  leading: 'this watcher leads',
  following: 'another watcher leads',
  none: 'this watcher does not lead',
} as const

function Connection({ known, view }: { readonly known: Known; readonly view: ClusterView | null }) {
  const { lost, streams, clockMs, readiness } = known
  const state = readiness.find(({ database }) => database === view?.database)
  return (
    <p class="connection">
      <Sign tone={lost !== null ? 'bad' : streams ? 'good' : 'warn'} />
      <strong>{lost !== null ? 'Not connected' : streams ? 'Live' : 'No events, asking every 2 s'}</strong>
      {view && (
        <span>
          surveyed <Age of={view.surveyedAt} clockMs={clockMs} />
        </span>
      )}
      {state && <span>{LEADERSHIP[state.leadership]}</span>}
    </p>
  )
}

/** Why what is shown may be old. */
function Trouble({ known }: { readonly known: Known }) {
  const { lost, heardAt, status, readiness, loops } = known
  const lines = [
    ...(lost === null
      ? []
      : [
          heardAt === null
            ? `The watcher cannot be asked: ${lost}.`
            : `The connection to the watcher is lost: ${lost}. What is shown is from ${clockText(new Date(heardAt).toISOString())}.`,
        ]),
    ...loops
      .filter(({ turns }) => !turns)
      .map(({ database }) => `${database}: the watcher’s loop hangs. What is shown may be old.`),
    ...(status?.failures ?? []).map(({ database, message }) => `${database}: not up to date: ${message}`),
    ...readiness.flatMap(({ database, why }) =>
      why === null || status?.failures.some((each) => each.database === database)
        ? []
        : [`${database}: ${why}`],
    ),
  ]
  if (lines.length === 0) return null
  return (
    <section class="trouble" role="alert" aria-label="What is shown may be old">
      {lines.map((line) => (
        <p key={line}>
          <Sign tone="bad" /> {line}
        </p>
      ))}
    </section>
  )
}

function Cluster({
  view,
  known,
  say,
}: {
  readonly view: ClusterView
  readonly known: Known
  readonly say: Say
}) {
  const { database, tone, verdict, coordinators, groups, strays } = view
  const told = useMemo(() => known.told.filter((each) => each.database === database), [known.told, database])
  const isOld = known.lost !== null
  return (
    <div class={isOld ? 'columns old' : 'columns'}>
      <div class="picture">
        <section class={`verdict ${tone}`} aria-label="Summary">
          <p class="sentence">
            <Sign tone={tone} /> {verdict}
          </p>
          <Numbers view={view} />
        </section>
        <Remarks title="Problems" tone="bad" remarks={view.problems} say={say} />
        <Remarks title="Warnings" tone="warn" remarks={view.warnings} say={say} />
        <Notes view={view} />
        <section id="cluster" tabIndex={-1} aria-labelledby="cluster-title">
          <h2 id="cluster-title">Cluster</h2>
          {coordinators && <GroupCard group={coordinators} wide />}
          <Groups groups={groups} />
          {strays.length > 0 && (
            <article class="card group strays" aria-labelledby="strays">
              <header>
                <h3 id="strays">In no group</h3>
              </header>
              <ul class="tree">
                {strays.map((node) => (
                  <Node key={node.address} node={node} />
                ))}
              </ul>
            </article>
          )}
          <p class="legend">
            <span class="line flows" /> WAL flows <span class="line stopped" /> no WAL flows{' '}
            <span class="line unknown" /> not known
          </p>
        </section>
      </div>
      <aside class="news" aria-label="What happens">
        <h2>What happens</h2>
        <Stories stories={storiesOf(told)} />
        <h2>Changes</h2>
        <Changes changes={changesOf(told)} />
        <p class="quiet">
          {known.since && `Since ${clockText(known.since)}, when this watcher’s page began. `}All of them:{' '}
          <Command text="citus-ha history" say={say} />
        </p>
      </aside>
    </div>
  )
}

function Numbers({ view: { counts, citus } }: { readonly view: ClusterView }) {
  const { groups, healthyGroups, nodes, answering, mostBehind } = counts
  const numbers = [
    ['Healthy groups', `${healthyGroups} of ${groups}`],
    ['Servers that answer', `${answering} of ${nodes}`],
    ['Furthest behind', mostBehind === null ? 'not known' : bytesText(mostBehind)],
    ['Citus', citus],
  ]
  return (
    <dl class="numbers">
      {numbers.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

function Remarks(props: {
  readonly title: string
  readonly tone: 'bad' | 'warn'
  readonly remarks: readonly RemarkView[]
  readonly say: Say
}) {
  const { title, tone, remarks, say } = props
  if (remarks.length === 0) return null
  return (
    <section class={`card remarks ${tone}`} aria-label={title}>
      <h2>
        <Sign tone={tone} /> {title}
      </h2>
      <ul>
        {remarks.map(({ code, text, command, hint }) => (
          <li key={`${code} ${text}`} class="remark">
            <p>{text}</p>
            {command && <Command text={command} say={say} />}
            {hint && <p class="quiet">{hint}</p>}
          </li>
        ))}
      </ul>
    </section>
  )
}

function Notes({ view: { pauses, pending, remedies } }: { readonly view: ClusterView }) {
  const parts = [
    ['Paused', pauses],
    ['What reconcile would do now', pending],
    ['Changed to keep reads working', remedies],
  ] as const
  return (
    <>
      {parts.map(
        ([title, lines]) =>
          lines.length > 0 && (
            <section key={title} class="card notes" aria-label={title}>
              <h2>{title}</h2>
              <Lines lines={lines} />
            </section>
          ),
      )}
    </>
  )
}

function Groups({ groups }: { readonly groups: readonly GroupView[] }) {
  const [typed, setTyped] = useState('')
  const found = groups.filter((group) => matches(group, typed))
  const isLong = groups.length > SHOWN_WHOLE
  const folded = isLong ? found.filter(({ isQuiet }) => isQuiet) : []
  const whole = found.filter((group) => !folded.includes(group))
  return (
    <>
      {isLong && (
        <div class="filter">
          <label>
            Filter{' '}
            <input
              type="search"
              placeholder="group, server, diagnosis"
              value={typed}
              onInput={({ currentTarget }) => setTyped(currentTarget.value)}
            />
          </label>
          <span>
            {found.length} of {countText(groups.length, 'group')}
          </span>
        </div>
      )}
      <div class="grid">
        {whole.map((group) => (
          <GroupCard key={group.group} group={group} />
        ))}
      </div>
      <div class="grid tiles">
        {folded.map((group) => (
          <GroupTile key={group.group} group={group} />
        ))}
      </div>
    </>
  )
}

const root = document.getElementById('app')
if (root) render(<App />, root)
