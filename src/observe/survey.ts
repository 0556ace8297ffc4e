import { setTimeout as pause } from 'node:timers/promises'
import { type Catalog, type CatalogRow, COORDINATOR_GROUP, groupsOf, primaryOf } from '../model/catalog.ts'
import { intentsIn } from '../model/intents.ts'
import { coordinatorOf, coordinatorsIn } from '../model/kinds.ts'
import { isBehindAStandby } from '../model/known.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Answered, Observation, Survey, Testimony } from '../model/observation.ts'
import { remedyOf, withoutRemedies } from '../model/remedy.ts'
import { type NamesToTry, tryNames } from './names.ts'
import type { Prober } from './prober.ts'
import { heardFrom } from './receivers.ts'
import { isDecisive, type Silence, silentAt } from './silence.ts'

export interface SurveyRequest {
  readonly database: string
  /** Coordinator candidates, standbys that the catalog does not name, a node that somebody vouches for. */
  readonly seeds: readonly HostPort[]
  /** How recent a WAL receiver's last message has to be to prove its sender alive, in milliseconds. */
  readonly witnessFreshnessMs: number
  readonly now: () => Date
  readonly names: NamesToTry
  /** null: nobody is known to be silent. */
  readonly silence: Silence | null
}

/**
 * Who has not answered by then is waited for beside the rest of the survey, in milliseconds: those that others name are
 * asked meanwhile, and witnesses about the silent ones. So a node that hangs costs one limit of a probe, and no more.
 */
const PATIENCE_MS = 500
/** In a hurry, who was silent before is given at least so long, in milliseconds: one that is back answers at once. */
const HURRIED_MS = 50

/**
 * Asks every node at once, then those the answers name, until nothing new is named; then asks the metadata
 * nodes about every registered primary that did not answer, and two of them about every secondary, and those who read
 * about other names that a row may be given. Facts only.
 */
export async function survey(prober: Prober, request: SurveyRequest): Promise<Survey> {
  const asked = new Asked(prober, request.silence)
  const witnesses = new Questions(prober)
  asked.ask(request.seeds)
  for (let isWhole = false; !isWhole; ) {
    await asked.answered('within patience')
    if (asked.ask(named(asked.answers)) > 0) continue
    if (asked.silent.length > 0) {
      // Under way while those are waited for.
      witnesses.ask([...asked.answers, ...asked.silent])
      await asked.answered('at last')
    }
    isWhole = asked.ask(named(asked.answers)) === 0
  }
  // Before witnesses are: they are asked about one that does not answer any more.
  const nodes = await askedLast(prober, asked.answers)
  const heard = await Promise.all([
    hearWitnesses(prober, witnesses, nodes, request.witnessFreshnessMs, (address) => asked.lent(address)),
    tryNames(prober, nodes, request.names),
  ])
  const testimony = heard.flat()
  return { database: request.database, at: request.now().toISOString(), nodes, testimony }
}

/**
 * A primary that is behind one of its standbys is asked once more, after that one: it has written since, or it lacks what the
 * standby has. So a standby's receiver, which may hold a dead connection for a minute, need not be believed.
 * @returns all of them, each as it answered last, or did not: a position that nobody can confirm is neither held against a
 * primary that has just died, nor forgotten of one that was set back
 */
export async function askedLast(
  prober: Pick<Prober, 'probe'>,
  nodes: readonly Observation[],
): Promise<Observation[]> {
  return await Promise.all(
    nodes.map(async (node) => {
      if (node.kind !== 'answered' || node.inRecovery || !isBehindAStandby(nodes, node)) return node
      return await prober.probe(node.address)
    }),
  )
}

/** Nodes that were asked, in that order, and what has come of it so far. */
class Asked {
  readonly #prober: Prober
  readonly #silence: Silence | null
  readonly #hurry: Promise<unknown>
  readonly #pending = new Map<string, Promise<unknown>>()
  readonly #all = new Map<string, { readonly address: HostPort; seen: Observation | null }>()
  readonly #lent = new Set<string>()

  constructor(prober: Prober, silence: Silence | null) {
    this.#prober = prober
    this.#silence = silence
    const wait = () => pause(HURRIED_MS, undefined, { ref: false })
    this.#hurry = silence === null ? new Promise(() => undefined) : silence.hurry.then(wait)
  }

  get answers(): Observation[] {
    return [...this.#all.values()].flatMap(({ seen }) => seen ?? [])
  }

  /** Who has not answered yet, as what it will be unless it does. */
  get silent(): Observation[] {
    return [...this.#all.values()]
      .filter(({ seen }) => seen === null)
      .map(({ address }) => ({ kind: 'unreachable', address, cause: 'timeout', detail: 'no answer yet' }))
  }

  /** What is known of it by an earlier silence, since it was not waited for again; null: it was. */
  lent(address: HostPort): Silence | null {
    return this.#lent.has(formatAddress(address)) ? this.#silence : null
  }

  /** Asks those that were not asked before. @returns how many */
  ask(addresses: readonly HostPort[]): number {
    const before = this.#all.size
    for (const address of addresses) {
      const key = formatAddress(address)
      if (this.#all.has(key)) continue
      const one: { address: HostPort; seen: Observation | null } = { address, seen: null }
      this.#all.set(key, one)
      const probing = this.#prober.probe(address).then((seen) => {
        // Too late: what was said of it for this survey stays so.
        if (!this.#lent.has(key)) one.seen = seen
        this.#pending.delete(key)
      })
      this.#pending.set(key, probing)
    }
    return this.#all.size - before
  }

  async answered(how: 'within patience' | 'at last'): Promise<void> {
    const all = Promise.all(this.#pending.values())
    const wasSilent = (key: string) =>
      this.#silence?.nodes.some((node) => formatAddress(node.address) === key)
    const others = [...this.#pending].filter(([key]) => !wasSilent(key)).map(([, probing]) => probing)
    const hurried = this.#hurry.then(() => Promise.all(others))
    if (how === 'at last') {
      await Promise.race([all, hurried])
      this.#lend()
      return void (await Promise.all(this.#pending.values()))
    }
    const over = new AbortController()
    const patience = pause(PATIENCE_MS, undefined, { signal: over.signal }).catch(() => undefined)
    await Promise.race([all, hurried, patience]).finally(() => over.abort())
  }

  /** Who is waited for no longer is what it was. */
  #lend(): void {
    const catalog = coordinatorOf(this.answers)?.citus?.catalog ?? []
    for (const key of [...this.#pending.keys()]) {
      const one = this.#all.get(key)
      const known = one && silentAt(this.#silence, one.address)
      if (!one || !known || isDecisive(one.address, catalog, this.answers)) continue
      one.seen = known
      this.#lent.add(key)
      this.#pending.delete(key)
    }
  }
}

/**
 * Addresses in the copies of coordinators (a worker's copy may be old, and its addresses with it), and those of
 * secondaries whose rows a remedy has pointed elsewhere, and of what a switchover is about.
 */
function named(nodes: readonly Observation[]): HostPort[] {
  const rivals = coordinatorsIn(nodes)
  const isOneSystem = new Set(rivals.map(({ systemIdentifier }) => systemIdentifier)).size === 1
  // Which of two systems is meant is known by their nodes.
  const authority = isOneSystem ? coordinatorOf(nodes) : undefined
  const coordinators = nodes
    .filter((node): node is Answered => node.kind === 'answered')
    .filter((node) => node.citus?.localGroup === COORDINATOR_GROUP)
  const rows = (authority ? [authority] : coordinators).flatMap((node) => [
    ...(node.citus?.catalog ?? []).map((row) => row.address),
    ...(node.installed?.remedies ?? []).map((remedy) => remedy.address),
    ...(node.installed?.intents ?? []).flatMap(({ from, to }) => [from, to]),
  ])
  return [...rows, ...intentsIn(nodes).flatMap(({ from, to }) => [from, to])]
}

interface Question {
  readonly witness: HostPort
  readonly about: HostPort
  readonly told: Promise<Testimony>
}

/** What metadata nodes were asked about silent ones in one survey: nobody the same thing twice. */
class Questions {
  readonly #prober: Prober
  readonly #asked = new Map<string, Promise<Testimony>>()

  constructor(prober: Prober) {
    this.#prober = prober
  }

  /** Asks about all that are silent among these. @returns the answers about those, which may be under way */
  ask(nodes: readonly Observation[]): Question[] {
    const { written, catalog, remedies } = rowsOf(nodes)
    const seen = ({ address }: CatalogRow) => nodes.find((node) => sameText(node.address, address))?.kind
    const witnesses = nodes.filter(
      (node): node is Answered =>
        node.kind === 'answered' && !node.inRecovery && (node.citus?.catalog.length ?? 0) > 0,
    )
    const living = catalog
      .map((row) => nodes.find((node) => sameText(node.address, row.address)))
      .filter((node): node is Answered => node?.kind === 'answered')
    const about = (row: CatalogRow, all: readonly Answered[]) =>
      all.map((witness) => this.#one(witness, row.address, controlFor(witness, living)))
    const asked = silentPrimaries(nodes, catalog).flatMap((row) => about(row, witnesses))
    // Of a secondary that is known to be down nothing new is to be learned this way, and one that hangs takes time.
    const secondaries = written
      .filter((row) => row.role === 'secondary' && !row.isclone && row.isactive)
      .filter((row) => seen(row) === 'unreachable')
      .filter((row) => !remedyOf(row, remedies))
    const few = witnesses.slice(0, WITNESSES_OF_A_SECONDARY)
    return [...asked, ...secondaries.flatMap((row) => about(row, few))]
  }

  #one({ address: witness }: Answered, about: HostPort, control: HostPort): Question {
    const key = `${formatAddress(witness)} about ${formatAddress(about)}`
    const told = this.#asked.get(key) ?? this.#prober.ask(witness, about, control)
    this.#asked.set(key, told)
    return { witness, about, told }
  }
}

/** The coordinator's rows, as they are and as they were without remedies. */
function rowsOf(nodes: readonly Observation[]) {
  const coordinator = coordinatorOf(nodes)
  const written: Catalog = coordinator?.citus?.catalog ?? []
  const remedies = coordinator?.installed?.remedies ?? []
  return { written, remedies, catalog: withoutRemedies(written, remedies) }
}

function silentPrimaries(nodes: readonly Observation[], catalog: Catalog): CatalogRow[] {
  const seen = ({ address }: CatalogRow) => nodes.find((node) => sameText(node.address, address))?.kind
  return (
    groupsOf(catalog)
      .map((group) => primaryOf(catalog, group))
      .filter((row) => row !== undefined)
      // One that was disabled on purpose is nobody's primary.
      .filter((row) => row.isactive && seen(row) !== 'answered')
  )
}

async function hearWitnesses(
  prober: Prober,
  questions: Questions,
  nodes: readonly Observation[],
  freshnessMs: number,
  lent: (address: HostPort) => Silence | null,
): Promise<Testimony[]> {
  const { catalog } = rowsOf(nodes)
  const asked = questions.ask(nodes).map(({ witness, about, told }) => {
    const silence = lent(about)
    if (silence === null) return told
    const isIt = (each: Testimony) => sameText(each.witness, witness) && sameText(each.about, about)
    return Promise.race([told, silence.testimony.find(isIt) ?? null])
  })
  const now = performance.now()
  prober.receivers?.note(nodes, catalog, freshnessMs, now)
  const heard = silentPrimaries(nodes, catalog).flatMap((row) =>
    heardFrom(nodes, catalog, row, freshnessMs, prober.receivers, now),
  )
  return [...heard, ...(await Promise.all(asked)).filter((told) => told !== null)]
}

/** One that agrees with us is enough, and a second for the case that the first can't tell. */
const WITNESSES_OF_A_SECONDARY = 2

/** Another node that lives, so that a witness which is cut off itself is found out; itself if there is none. */
function controlFor(witness: Answered, living: readonly Answered[]): HostPort {
  const own = living.find((node) => node.instance === witness.instance)
  return (living.find((node) => node.instance !== witness.instance) ?? own ?? witness).address
}

const sameText = (a: HostPort, b: HostPort): boolean => formatAddress(a) === formatAddress(b)
