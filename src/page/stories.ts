import type { Told } from '../http/told.ts'
import type { Tone } from './cluster.ts'
import { countText, tookText } from './format.ts'

/** One thing that happened, as a line. */
export interface Step {
  /** ISO 8601, by the watcher's clock. */
  readonly at: string
  readonly tone: Tone
  readonly text: string
  /** What a person should know of it, a line each. */
  readonly lines: readonly string[]
  /** What was seen, or would be done, for those who ask; a line each. */
  readonly details: readonly string[]
  /** From the promotion to each stage of the change; empty where that is not known. */
  readonly stages: readonly string[]
}

/** What happened to one group from the first sign until it was right again, step by step. */
export interface Story {
  /** null: it is about the watcher, or the whole cluster. */
  readonly group: number | null
  readonly key: string
  readonly title: string
  readonly tone: Tone
  readonly steps: readonly Step[]
}

/** A change that was decided. */
export interface ChangeView {
  readonly key: string
  readonly at: string
  readonly title: string
  readonly rows: readonly {
    readonly about: string
    readonly before: string
    readonly after: string
    readonly why: string
  }[]
}

/** What follows within this time belongs to what was before; milliseconds. */
const TOGETHER_MS = 15_000

interface Open {
  readonly group: number | null
  readonly at: number
  last: number
  tone: Tone
  /** What it came to so far: a diagnosis, or how a change ended. */
  word: string
  over: boolean
  readonly steps: Step[]
}

/**
 * Events as stories, the newest first.
 * @param told of one database, the oldest first
 */
export function storiesOf(told: readonly Told[]): Story[] {
  const stories: Open[] = []
  for (const each of newsIn(told)) {
    const at = Date.parse(each.at)
    for (const group of groupsOf(each)) {
      const before = stories.findLast((story) => story.group === group)
      const goesOn = before && (!before.over || at - before.last < TOGETHER_MS)
      const story = goesOn ? before : newStory(group, at)
      if (!goesOn) stories.push(story)
      story.steps.push(stepOf(each))
      story.last = at
      const end = endOf(each)
      // What is of no group has no end that would be told.
      if (end && group !== null) Object.assign(story, end)
    }
  }
  return stories
    .toSorted((a, b) => b.last - a.last)
    .map((story) => ({
      group: story.group,
      key: `${story.group ?? ''}@${story.at}`,
      title: titleOf(story),
      tone: story.tone,
      steps: story.steps,
    }))
}

/** Over as it is told, until something in it is not. */
function newStory(group: number | null, at: number): Open {
  return { group, at, last: at, tone: 'off', word: '', over: true, steps: [] }
}

function titleOf({ group, word, over }: Open): string {
  if (group === null) return 'Watcher and others'
  const name = group === 0 ? 'Coordinators' : `Group ${group}`
  const said = word === '' ? '' : `: ${word}`
  return over ? `${name}${said}` : `${name}${said}, running`
}

/** Without what is no news: the first look at what is well, servers that were not lost before, and that something is new. */
function newsIn(told: readonly Told[]): Told[] {
  const lost = new Set<string>()
  return told.filter((each) => {
    if (each.kind !== 'noticed') return !isFirstLook(each)
    const { what, node } = each
    if (what === 'lost') lost.add(node)
    return what === 'back' ? lost.delete(node) : what !== 'changed'
  })
}

function isFirstLook(told: Told): boolean {
  return told.kind === 'diagnosed' && told.was === null && told.code === 'healthy'
}

function groupsOf(told: Told): readonly (number | null)[] {
  switch (told.kind) {
    case 'acted':
      return told.groups
    case 'noticed':
    case 'diagnosed':
    case 'held':
    case 'fence':
      return [told.group]
    default:
      return [null]
  }
}

/** What calls for something else to happen is not over. */
const NOTICED: Readonly<Record<string, Pick<Open, 'tone' | 'word' | 'over'>>> = {
  lost: { word: 'a server is lost', over: false, tone: 'bad' },
  promoted: { word: 'a server was promoted', over: false, tone: 'warn' },
  demoted: { word: 'a server is in recovery', over: false, tone: 'warn' },
  back: { word: 'a server is back', over: true, tone: 'good' },
}

/** How a group stands after it; null: it says nothing of that. */
function endOf(told: Told): Pick<Open, 'tone' | 'word' | 'over'> | null {
  if (told.kind === 'noticed') return NOTICED[told.what] ?? null
  if (told.kind === 'diagnosed') {
    const { code: word, standing } = told
    if (standing === 'sound') return { word, over: true, tone: word === 'healthy' ? 'good' : 'warn' }
    return { word, over: false, tone: standing === 'refused' ? 'bad' : 'warn' }
  }
  if (told.kind === 'acted') {
    const { outcome: word } = told
    const isRight = word === 'changed' || word === 'converged'
    return { word, over: isRight, tone: isRight ? 'good' : word === 'refused' ? 'bad' : 'warn' }
  }
  return null
}

function stepOf(told: Told): Step {
  const whole = textOf(told)
  const isLong = whole.length > SHOWN
  const step = {
    at: told.at,
    text: isLong ? `${whole.slice(0, SHOWN).trimEnd()} …` : whole,
    lines: [],
    details: isLong ? [whole] : [],
    stages: [],
  }
  switch (told.kind) {
    case 'noticed':
      return { ...step, tone: endOf(told)?.tone ?? 'off' }
    case 'diagnosed':
      return { ...step, tone: endOf(told)?.tone ?? 'warn', details: [...step.details, ...told.evidence] }
    case 'acted':
      return {
        ...step,
        tone: endOf(told)?.tone ?? 'warn',
        lines: inTheWay(told),
        stages: stagesOf(told.stages),
      }
    case 'held':
      return { ...step, tone: 'off', details: [...step.details, ...told.would] }
    case 'failed':
      return { ...step, tone: 'bad' }
    case 'leadership':
      return { ...step, tone: told.now === 'none' ? 'warn' : 'off' }
    case 'coordinator':
      return { ...step, tone: told.node === null ? 'bad' : 'off' }
    case 'database':
    case 'fence':
      return { ...step, tone: 'off' }
  }
}

/** More of a sentence is for those who ask. */
const SHOWN = 160

/** The database is named above already. */
function textOf({ remark, database }: Told): string {
  const prefix = `${database}: `
  return remark.text.startsWith(prefix) ? remark.text.slice(prefix.length) : remark.text
}

type Acted = Extract<Told, { kind: 'acted' }>

function inTheWay(told: Acted): string[] {
  const { failures } = told
  const lines = told.inTheWay.map(
    ({ node, count }) =>
      `${countText(count, 'blocking session')} on ${node}: citus-ha doctor names what blocks the change`,
  )
  return failures > 1 ? [...lines, `tried ${failures} times in a row; it is tried again`] : lines
}

function stagesOf({ noticedMs, decidedMs, rightMs }: Acted['stages']): string[] {
  return [
    ...(noticedMs === null ? [] : [`noticed after ${tookText(noticedMs)}`]),
    ...(decidedMs === null ? [] : [`decided after ${tookText(decidedMs)}`]),
    ...(rightMs === null ? [] : [`right on every copy after ${tookText(rightMs)}`]),
  ]
}

/** What was decided, the newest first. */
export function changesOf(told: readonly Told[]): ChangeView[] {
  return told
    .filter((each): each is Acted => each.kind === 'acted' && each.epoch !== null)
    .toReversed()
    .map(({ at, epoch, groups, outcome, changes }) => ({
      key: `${epoch}@${at}`,
      at,
      title: `Change ${epoch}: group${groups.length === 1 ? '' : 's'} ${groups.join(', ')}, ${outcome}`,
      rows: changes.map(({ group, nodeid, kind, from, to, why }) => ({
        about: `group ${group}, node ${nodeid}: ${kind}`,
        before: from,
        after: to,
        why,
      })),
    }))
}

/** What a person who does not look should hear of it; null: nothing. */
export function announcementOf(told: Told): string | null {
  if (isFirstLook(told) || told.kind === 'noticed' || told.kind === 'database') return null
  return textOf(told)
}
