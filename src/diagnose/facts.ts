import { type Catalog, type CatalogRow, COORDINATOR_GROUP, primaryOf } from '../model/catalog.ts'
import { intentsIn } from '../model/intents.ts'
import { coordinatorOf, coordinatorsIn, strangersIn } from '../model/kinds.ts'
import { type Known, knownOf, leaderAmong } from '../model/known.ts'
import { type HostPort, sameAddress } from '../model/node.ts'
import type { Answered, Lineage, Observation, Survey, Testimony } from '../model/observation.ts'
import { remedyOf, withoutRemedies } from '../model/remedy.ts'
import { ENOUGH, wasSilent } from './silent.ts'

/** What the caller adds to a survey. */
export interface Claims {
  /** A node that whoever promoted it vouches for. */
  readonly vouched: HostPort | null
  /** A tool's word may come late: unlike a person's, it does not override what the timelines say. */
  readonly vouchedBy: 'person' | 'tool'
  /** The group the vouched node is said to be of; null: by the catalog, the file or its local group. */
  readonly vouchedGroup: number | null
  /** Standbys that the catalog does not name. */
  readonly standbys: readonly { readonly group: number; readonly address: HostPort }[]
  /** How much of what a dead primary wrote its standby may lack and be believed all the same, in bytes. */
  readonly maxLag: number
  /** Names in rows that lead to whoever is the primary by themselves (a Kubernetes Service): never rewritten. */
  readonly following: readonly HostPort[]
}

export const NO_CLAIMS: Claims = {
  vouched: null,
  vouchedBy: 'person',
  vouchedGroup: null,
  standbys: [],
  maxLag: 16 * 1024 * 1024,
  following: [],
}

/** One running server of a group. Two addresses of one server are one member. */
export interface Member {
  readonly node: Answered
  /** The registered address where there is one, else the one by which it was asked. */
  readonly address: HostPort
}

/** All that the rules look at for one group. */
export interface GroupFacts {
  readonly group: number
  /** The group's primary row in the coordinator's copy. */
  readonly row: CatalogRow | undefined
  /** What was seen at the address of that row. */
  readonly registered: Observation | undefined
  readonly members: readonly Member[]
  /** Servers of the group that take writes, neither foreign nor retired. */
  readonly writable: readonly Member[]
  /** Servers at the group's addresses that belong to something else, and why. */
  readonly foreign: readonly { readonly member: Member; readonly why: string }[]
  readonly vouched: {
    readonly address: HostPort
    /** `intent`: it is what a switchover said that it would promote. */
    readonly by: Claims['vouchedBy'] | 'intent'
    readonly observation: Observation | undefined
  } | null
  /** Instances of servers registered as clones. */
  readonly clones: ReadonlySet<string>
  /** Instances of coordinators of other clusters. */
  readonly strangers: ReadonlySet<string>
  readonly lineage: Lineage | null
  /** How the system identifier of the group is known; `null`: it is not. */
  readonly lineageFrom: 'recorded' | 'registered primary' | 'other members' | null
  /** Points of the group's line that exist or existed, and who knows it. */
  readonly known: readonly Known[]
  /** Of several coordinators, the instance of the one that leads by what others know; null: it does not tell, or none leads. */
  readonly leading: string | null
  /** As in `Claims`. */
  readonly maxLag: number
  /** The name in the primary's row leads to whoever is the primary, by itself. */
  readonly nameFollows: boolean
  readonly testimony: readonly Testimony[]
  readonly secondaries: readonly Secondary[]
}

/** A secondary's row, and what was seen at its own address. */
export interface Secondary {
  readonly row: CatalogRow
  readonly seen: Observation | undefined
  /** Two at least have seen that it is silent, we among them, and nobody has reached it; it stays so until it answers. */
  readonly isDown: boolean
  /** Its row is lent out or inactive meanwhile. */
  readonly isRemedied: boolean
}

/** The coordinator's copy as far as it names nodes: a row that a remedy has lent out names its own again. */
export function catalogOf(survey: Survey): Catalog {
  const coordinator = coordinatorOf(survey.nodes)
  return withoutRemedies(coordinator?.citus?.catalog ?? [], coordinator?.installed?.remedies ?? [])
}

export function factsOf(survey: Survey, group: number, claims: Claims): GroupFacts {
  const catalog = catalogOf(survey)
  const row = primaryOf(catalog, group)
  const at = (address: HostPort) => survey.nodes.find((node) => sameAddress(node.address, address))
  const said = claims.vouched && groupOfVouched(survey, catalog, claims) === group ? claims.vouched : null
  const vouchedAddress = said ?? intendedIn(survey, group, row)
  const members = membersOf(survey, catalog, group, claims, vouchedAddress)
  const registered = row && (coordinatorItself(survey, row) ?? at(row.address))
  const line = lineageOf(survey, group, members, registered)
  const judged = members.map((member) => ({ member, why: foreignness(member.node, group, line.lineage) }))
  return {
    group,
    row,
    registered,
    members,
    writable: judged
      .filter(({ member, why }) => why === null && !member.node.inRecovery)
      .filter(
        ({ member: { node } }) =>
          !node.retired && (node === registered || !node.readOnly || hasLeft(node, line.lineage)),
      )
      .map(({ member }) => member),
    foreign: judged.flatMap(({ member, why }) => (why === null ? [] : [{ member, why }])),
    vouched: vouchedAddress && {
      address: vouchedAddress,
      by: said ? claims.vouchedBy : 'intent',
      observation: at(vouchedAddress),
    },
    clones: cloneInstances(survey, catalog),
    strangers: new Set(strangersIn(survey.nodes).map(({ instance }) => instance)),
    ...line,
    known: line.lineage
      ? knownOf(survey.nodes, group, line.lineage.systemIdentifier, coordinatorOf(survey.nodes))
      : [],
    leading: leaderAmong(survey.nodes, coordinatorsIn(survey.nodes))?.instance ?? null,
    maxLag: claims.maxLag,
    nameFollows: row !== undefined && claims.following.some((name) => sameAddress(name, row.address)),
    testimony: row ? survey.testimony.filter((given) => sameAddress(given.about, row.address)) : [],
    secondaries: secondariesIn(survey, catalog, group),
  }
}

/** The group that a vouched node is of: said by the caller, else registered, else in the file, else its own word. */
export function groupOfVouched(survey: Survey, catalog: Catalog, claims: Claims): number | null {
  const { vouched } = claims
  if (vouched === null) return null
  if (claims.vouchedGroup !== null) return claims.vouchedGroup
  const registered = catalog.find((row) => sameAddress(row.address, vouched))
  const inFile = claims.standbys.find((standby) => sameAddress(standby.address, vouched))
  const seen = survey.nodes.find((node) => sameAddress(node.address, vouched))
  const own = seen?.kind === 'answered' ? (seen.citus?.localGroup ?? null) : null
  return registered?.group ?? inFile?.group ?? own
}

/**
 * The node that a switchover said it would promote, and that was: its word is as good as a caller's. Not where another
 * change has overtaken it: the group's row names another primary than it was about, or the group has been promoted since.
 */
function intendedIn(survey: Survey, group: number, row: CatalogRow | undefined): HostPort | null {
  const installed = coordinatorOf(survey.nodes)?.installed
  const intent = intentsIn(survey.nodes).find((each) => each.group === group && each.phase === 'promoting')
  if (!intent || !row || !isMeant(row, intent.from)) return null
  const node = survey.nodes.find((seen) => sameAddress(seen.address, intent.to))
  if (node?.kind !== 'answered' || node.inRecovery) return null
  const recorded = installed?.lineage.find((line) => line.group === group)
  const parent = node.history?.at(-1)?.timeline
  return recorded === undefined || parent === recorded.timeline ? node.address : null
}

/** A coordinator that was never told its host is in its row as `localhost`. */
function isMeant(row: CatalogRow, from: HostPort): boolean {
  const unnamed = row.group === COORDINATOR_GROUP && LOOPBACK.test(row.address.host)
  return sameAddress(row.address, from) || (unnamed && row.address.port === from.port)
}

function membersOf(
  survey: Survey,
  catalog: Catalog,
  group: number,
  claims: Claims,
  vouched: HostPort | null,
): Member[] {
  const rows = catalog.filter((row) => row.group === group && !row.isclone)
  const remedies = remediesOf(survey, group)
  const secondaries = rows.filter((row) => row.role === 'secondary')
  const addresses = [
    ...rows
      .filter((row) => row.role === 'primary' && !coordinatorItself(survey, row))
      .map((row) => row.address),
    ...secondaries.map((row) => row.address),
    ...claims.standbys.filter((standby) => standby.group === group).map((standby) => standby.address),
    ...remedies.map((remedy) => remedy.address),
    ...(vouched ? [vouched] : []),
  ]
  const strangers = strangersIn(survey.nodes).map(({ instance }) => instance)
  const unnamed = survey.nodes
    .filter((node): node is Answered => node.kind === 'answered' && !node.inRecovery)
    .filter((node) => !strangers.includes(node.instance))
    .filter((node) => node.citus?.localGroup === group && node.citus.useSecondaryNodes === 'never')
    // A server without any copy is new: wherever it stands, it is nobody's member by that alone.
    .filter((node) => (node.citus?.catalog.length ?? 0) > 0)
    .map((node) => node.address)
  const clones = cloneInstances(survey, catalog)
  const members = new Map<string, Member>()
  for (const address of [...addresses, ...unnamed]) {
    const node = survey.nodes.find((seen) => sameAddress(seen.address, address))
    if (node?.kind !== 'answered' || members.has(node.instance) || clones.has(node.instance)) continue
    members.set(node.instance, { node, address })
  }
  return [...members.values()]
}

function secondariesIn(survey: Survey, catalog: Catalog, group: number): Secondary[] {
  const coordinator = coordinatorOf(survey.nodes)
  const lent = (coordinator?.citus?.catalog ?? [])
    .filter((row) => remedyOf(row, coordinator?.installed?.remedies ?? []))
    .map((row) => row.nodeid)
  const rows = catalog.filter((row) => row.group === group && row.role === 'secondary' && !row.isclone)
  return rows.map((row) => {
    const seen = survey.nodes.find((node) => sameAddress(node.address, row.address))
    const heard = survey.testimony.filter((given) => sameAddress(given.about, row.address))
    const isRemedied = lent.includes(row.nodeid)
    const down = heard.filter(({ says }) => says === 'down').length + (wasSilent(seen) ? 1 : 0)
    const told = down >= ENOUGH && heard.every(({ says }) => says !== 'alive')
    return { row, seen, isDown: seen?.kind === 'unreachable' && (isRemedied || told), isRemedied }
  })
}

/** Servers registered as clones, under whichever address they are asked: no members, no candidates. */
export function cloneInstances(survey: Survey, catalog: Catalog): ReadonlySet<string> {
  const clones = catalog.filter((row) => row.isclone)
  const seen = survey.nodes.filter((node): node is Answered => node.kind === 'answered')
  const behind = seen.filter((node) => clones.some((row) => sameAddress(row.address, node.address)))
  return new Set(behind.map((node) => node.instance))
}

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/i

/**
 * Citus registers a coordinator that was never told its host as `localhost`. Seen from here that is another machine;
 * on the port where the coordinator listens, it is the coordinator itself.
 */
export function coordinatorItself(survey: Survey, row: CatalogRow): Answered | undefined {
  if (row.group !== COORDINATOR_GROUP || !LOOPBACK.test(row.address.host)) return undefined
  const coordinator = coordinatorOf(survey.nodes)
  if (!coordinator || LOOPBACK.test(coordinator.address.host)) return undefined
  return coordinator.instance.endsWith(`/${row.address.port}`) ? coordinator : undefined
}

/** Remedies took addresses out of the rows for a while: the nodes behind them are still the group's. */
function remediesOf(survey: Survey, group: number) {
  const installed = coordinatorOf(survey.nodes)?.installed
  return (installed?.remedies ?? []).filter((remedy) => remedy.group === group)
}

function lineageOf(
  survey: Survey,
  group: number,
  members: readonly Member[],
  registered: Observation | undefined,
): Pick<GroupFacts, 'lineage' | 'lineageFrom'> {
  const recorded = coordinatorOf(survey.nodes)?.installed?.lineage.find((line) => line.group === group)
  if (recorded) return { lineage: recorded, lineageFrom: 'recorded' }
  const own = members.map(({ node }) => node).filter((node) => node.citus?.localGroup === group)
  const witness = own.find((node) => node === registered)
  const identifiers = new Set(own.map((node) => node.systemIdentifier))
  const agreed = identifiers.size === 1 && own.length > 1 ? own[0] : undefined
  const source = witness ?? agreed
  if (!source) return { lineage: null, lineageFrom: null }
  // Nothing is known of its timelines: any is as new as the first.
  const lineage = { group, systemIdentifier: source.systemIdentifier, timeline: 1, history: [] }
  return { lineage, lineageFrom: witness ? 'registered primary' : 'other members' }
}

/**
 * Read-only by default are an old primary after a switchover, which is on the line that was left, and a standby that was
 * promoted under such a setting: that one has left the recorded timeline for its own.
 */
function hasLeft({ timeline, history }: Answered, lineage: Lineage | null): boolean {
  if (lineage === null || timeline === null || timeline <= lineage.timeline) return false
  return (history ?? []).some((entry) => entry.timeline === lineage.timeline)
}

/** Why a server at one of the group's addresses is not of this group; null if nothing speaks against it. */
function foreignness(node: Answered, group: number, lineage: Lineage | null): string | null {
  if (lineage && node.systemIdentifier !== lineage.systemIdentifier) {
    return `its system identifier is ${node.systemIdentifier}, the group’s is ${lineage.systemIdentifier}; if the whole cluster was upgraded by pg_upgrade or restored, run: citus-ha relearn`
  }
  if (!node.citus) return 'it has no Citus in this database'
  if (node.citus.localGroup !== group) return `its pg_dist_local_group says ${node.citus.localGroup}`
  return null
}
