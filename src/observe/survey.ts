import { type Catalog, type CatalogRow, COORDINATOR_GROUP, groupsOf, primaryOf } from '../model/catalog.ts'
import { intentsIn } from '../model/intent.ts'
import { coordinatorOf } from '../model/kinds.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Answered, Observation, Survey, Testimony } from '../model/observation.ts'
import { remedyOf, withoutRemedies } from '../model/remedy.ts'
import type { ReceiverHistory } from './receiver-history.ts'
import { heardFrom } from './receivers.ts'

/** How the survey reaches nodes. One implementation speaks PostgreSQL; it never throws for a node's sake. */
export interface Prober {
  probe(address: HostPort): Promise<Observation>
  /** Asks `witness` through Citus whether it reaches `about`; `control` is a node that is known to live. */
  ask(witness: HostPort, about: HostPort, control: HostPort): Promise<Testimony>
  /** What earlier surveys saw of WAL receivers; none where it is the only one. */
  readonly receivers?: ReceiverHistory
  /** Why a standby holds back what it has received, for people; null: it does not, or can't be asked. */
  held(address: HostPort): Promise<string | null>
}

export interface SurveyRequest {
  readonly database: string
  /** Coordinator candidates, standbys that the catalog does not name, a node that somebody vouches for. */
  readonly seeds: readonly HostPort[]
  /** How recent a WAL receiver's last message has to be to prove its sender alive, in milliseconds. */
  readonly witnessFreshnessMs: number
  readonly now: () => Date
}

/**
 * Asks every node at once, then those the answers name, until nothing new is named; then asks the metadata
 * nodes about every registered primary that did not answer, and two of them about every secondary. Facts only.
 */
export async function survey(prober: Prober, request: SurveyRequest): Promise<Survey> {
  const nodes = new Map<string, Observation>()
  let unasked = [...request.seeds]
  while (unasked.length > 0) {
    const distinct = [...new Map(unasked.map((address) => [formatAddress(address), address])).values()]
    const answers = await Promise.all(distinct.map((address) => prober.probe(address)))
    for (const answer of answers) nodes.set(formatAddress(answer.address), answer)
    unasked = named([...nodes.values()]).filter((address) => !nodes.has(formatAddress(address)))
  }
  const observations = [...nodes.values()]
  const testimony = await hearWitnesses(prober, observations, request.witnessFreshnessMs)
  return { database: request.database, at: request.now().toISOString(), nodes: observations, testimony }
}

/**
 * Addresses in the copies of coordinators (a worker's copy may be old, and its addresses with it), and those of
 * secondaries whose rows a remedy has pointed elsewhere, and of what a switchover is about.
 */
function named(nodes: readonly Observation[]): HostPort[] {
  const authority = coordinatorOf(nodes)
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

async function hearWitnesses(
  prober: Prober,
  nodes: readonly Observation[],
  freshnessMs: number,
): Promise<Testimony[]> {
  const coordinator = coordinatorOf(nodes)
  const written: Catalog = coordinator?.citus?.catalog ?? []
  const remedies = coordinator?.installed?.remedies ?? []
  const catalog = withoutRemedies(written, remedies)
  const seen = ({ address }: CatalogRow) => nodes.find((node) => sameText(node.address, address))?.kind
  const silent = groupsOf(catalog)
    .map((group) => primaryOf(catalog, group))
    .filter((row) => row !== undefined)
    // One that was disabled on purpose is nobody's primary.
    .filter((row) => row.isactive && seen(row) !== 'answered')
  const witnesses = nodes.filter(
    (node): node is Answered =>
      node.kind === 'answered' && !node.inRecovery && (node.citus?.catalog.length ?? 0) > 0,
  )
  const living = catalog
    .map((row) => nodes.find((node) => sameText(node.address, row.address)))
    .filter((node): node is Answered => node?.kind === 'answered')
  const asked = silent.flatMap((row) =>
    witnesses.map((witness) => prober.ask(witness.address, row.address, controlFor(witness, living))),
  )
  // Of a secondary that is known to be down nothing new is to be learned this way, and one that hangs takes time.
  const secondaries = written
    .filter((row) => row.role === 'secondary' && !row.isclone && row.isactive)
    .filter((row) => seen(row) === 'unreachable')
    .filter((row) => !remedyOf(row, remedies))
  const few = witnesses.slice(0, WITNESSES_OF_A_SECONDARY)
  const askedToo = secondaries.flatMap((row) =>
    few.map((witness) => prober.ask(witness.address, row.address, controlFor(witness, living))),
  )
  const now = performance.now()
  prober.receivers?.note(nodes, catalog, freshnessMs, now)
  const heard = silent.flatMap((row) => heardFrom(nodes, catalog, row, freshnessMs, prober.receivers, now))
  return [...heard, ...(await Promise.all([...asked, ...askedToo]))]
}

/** One that agrees with us is enough, and a second for the case that the first can't tell. */
const WITNESSES_OF_A_SECONDARY = 2

/** Another node that lives, so that a witness which is cut off itself is found out; itself if there is none. */
function controlFor(witness: Answered, living: readonly Answered[]): HostPort {
  const own = living.find((node) => node.instance === witness.instance)
  return (living.find((node) => node.instance !== witness.instance) ?? own ?? witness).address
}

const sameText = (a: HostPort, b: HostPort): boolean => formatAddress(a) === formatAddress(b)
