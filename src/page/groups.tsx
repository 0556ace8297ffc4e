import type { GroupView, NodeView, RouteView } from './cluster.ts'
import { spanText } from './format.ts'
import { Fold, Lines, Sign } from './parts.tsx'

export function GroupCard({ group, wide = false }: { readonly group: GroupView; readonly wide?: boolean }) {
  const { title, tone, word } = group
  const id = `group-${group.group}`
  return (
    <article class={`card group ${tone} ${wide ? 'wide' : ''}`} aria-labelledby={id}>
      <header>
        <Sign tone={tone} />
        <h3 id={id}>{title}</h3>
        <span class={`word ${tone}`}>{word}</span>
        <Marks group={group} />
      </header>
      <GroupBody group={group} />
    </article>
  )
}

/** A healthy group among many: one line, until somebody opens it. */
export function GroupTile({ group }: { readonly group: GroupView }) {
  const { title, tone, word, brief } = group
  return (
    <Fold
      class={`card tile ${tone}`}
      summary={
        <>
          <Sign tone={tone} />
          <span class="name">{title}</span>
          <span class={`word ${tone}`}>{word}</span>
          <span class="brief">{brief}</span>
        </>
      }
    >
      <GroupBody group={group} />
    </Fold>
  )
}

function Marks({ group: { paused, fencedMs } }: { readonly group: GroupView }) {
  return (
    <>
      {paused && <span class="mark">paused</span>}
      {fencedMs !== null && <span class="mark">fenced: writes wait, {spanText(fencedMs)} left</span>}
    </>
  )
}

function GroupBody({ group }: { readonly group: GroupView }) {
  const { rule, summary, evidence, routes, trees } = group
  return (
    <>
      <ul class="tree">
        {trees.map((node) => (
          <Node key={node.address} node={node} />
        ))}
      </ul>
      <Fold
        class="why"
        summary={
          <>
            <span class="rule">{rule}</span> {summary}
          </>
        }
      >
        <h4>Evidence</h4>
        {evidence.length > 0 ? <Lines lines={evidence} /> : <p>None is needed.</p>}
        <h4>Where reads and writes go</h4>
        <Routes routes={routes} />
      </Fold>
    </>
  )
}

const LINKS = {
  flows: 'WAL flows',
  stopped: 'no WAL flows',
  unknown: 'whether WAL flows is not known',
  same: 'the same server',
} as const

export function Node({ node }: { readonly node: NodeView }) {
  const { address, title, tone, state, facts, notes, reads, writes, link, standbys } = node
  return (
    <li class={link === null ? undefined : `below ${link}`}>
      <div class={`node ${tone}`}>
        <div class="head">
          <Sign tone={tone} />
          <span class="title">{title}</span>
          <span class={`word ${tone}`}>{state}</span>
        </div>
        <div class="address">{address}</div>
        {(facts.length > 0 || notes.length > 0) && (
          <div class="facts">
            {facts.map((fact) => (
              <span key={fact}>{fact}</span>
            ))}
            {notes.map((note) => (
              <span key={note} class="note">
                {note}
              </span>
            ))}
          </div>
        )}
        <Traffic word="Writes" from={writes} />
        <Traffic word="Reads" from={reads} />
        {link && <span class="hidden">{LINKS[link]}</span>}
      </div>
      {standbys.length > 0 && (
        <ul>
          {standbys.map((each) => (
            <Node key={each.address} node={each} />
          ))}
        </ul>
      )}
    </li>
  )
}

function Traffic({ word, from }: { readonly word: string; readonly from: readonly string[] }) {
  if (from.length === 0) return null
  return (
    <div class="traffic">
      <span class={`chip ${word.toLowerCase()}`}>{word}</span> from {from.join(', ')}
    </div>
  )
}

function Routes({ routes }: { readonly routes: readonly RouteView[] }) {
  if (routes.length === 0) return <p>No coordinator and no metadata worker was seen.</p>
  return (
    <dl class="routes">
      {routes.map(({ entry, nodes, read, write, works }) => (
        <div key={`${entry} ${nodes[0]}`} class={works ? 'works' : 'fails'}>
          <dt>
            <Sign tone={works ? 'good' : 'bad'} /> At {entry}
          </dt>
          <dd class="address">{nodes.join(', ')}</dd>
          <dd>
            reads: <span class="address">{read}</span>
          </dd>
          <dd>
            writes: <span class="address">{write}</span>
          </dd>
        </div>
      ))}
    </dl>
  )
}
