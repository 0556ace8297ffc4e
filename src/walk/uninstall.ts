import type { SessionLike } from '../db/pg.ts'
import { codeOf, messageOf, SqlState } from '../db/sqlstate.ts'
import { show } from '../diagnose/witnesses.ts'
import type { Step } from '../install/plan.ts'
import {
  holdCoordinator,
  planUninstall,
  type Removal,
  remainsOn,
  removeHere,
  removeRole,
  standsInTheWay,
  type UninstallOrder,
  uninstall,
} from '../install/uninstall.ts'
import { primaryOf } from '../model/catalog.ts'
import { CitusHaError, untrustedSchema } from '../model/failure.ts'
import { describeIntent } from '../model/intent.ts'
import { formatAddress, type HostPort, sameAddress } from '../model/node.ts'
import type { Answered } from '../model/observation.ts'
import { isStale } from '../model/remedy.ts'
import { describeRetired, retiredIn } from '../model/retired.ts'
import type { Access } from './access.ts'
import type { Clock } from './clock.ts'
import { ownNodes } from './install.ts'
import { observe, type View, view } from './look.ts'
import type { WalkRequest } from './walk-request.ts'

const LIMIT_MS = 30_000
/** A program that stands still lets others in after that. */
const IDLE_MS = 60_000

/** What one database of one server has, and what is to be done there. */
export interface Target {
  readonly node: Answered
  readonly removal: Removal
}

/** Something of ours that stays on a server, with the reason. */
export interface Stays {
  readonly node: string
  readonly database: string
  readonly what: string
}

/** What would be removed of one database: each other node's, then the coordinator's. */
export interface Uninstallation {
  readonly request: WalkRequest
  readonly coordinator: Answered
  readonly targets: readonly Target[]
  readonly stays: readonly Stays[]
  /** Why nothing is to be removed, a line each. */
  readonly refusals: readonly string[]
}

/** What was done. */
export interface Uninstalled {
  /** In the order in which it was done. */
  readonly done: readonly { readonly node: string; readonly database: string; readonly step: Step }[]
  readonly stays: readonly Stays[]
  /** Why it came to no end, with the node; what is done stays done. */
  readonly failure: string | null
}

/** @throws CitusHaError without a coordinator, for a session that is no superuser's, and for a coordinator’s schema that is not ours */
export async function lookToUninstall(
  access: Access,
  request: WalkRequest,
  order: UninstallOrder,
  clock: Clock,
  ownPids: readonly number[] = [],
): Promise<Uninstallation> {
  const seen = view(await observe(access, request, clock), access, request)
  const { coordinator, diagnoses } = seen
  if (coordinator.untrusted.length > 0)
    throw new CitusHaError('configuration', untrustedSchema(coordinator.address, coordinator.untrusted))
  const nodes = ownNodes(seen)
  for (const { superuser, address } of nodes) {
    if (superuser) continue
    const why = `${formatAddress(address)}: uninstall needs a superuser: citus-ha uninstall --user postgres`
    throw new CitusHaError('configuration', why)
  }
  const targets: Target[] = []
  const refusals = inDoubt(seen)
  const stays: Stays[] = missing(seen, nodes, request.database)
  for (const node of nodes) {
    const remains = await on(access, request.database, node.address, (session) =>
      remainsOn(session, node.address, order.role),
    )
    const removal = planUninstall(remains, order)
    targets.push({ node, removal })
    refusals.push(...standsInTheWay(node.address, remains, ownPids))
    stays.push(...staysOn(node, request.database, removal))
    // What the coordinator knows goes last, and not at all where its schema can't go.
    if (node.instance === coordinator.instance)
      refusals.push(...schemaStays(removal).map((what) => `${formatAddress(node.address)}: ${what}`))
  }
  targets.sort(
    (a, b) =>
      Number(a.node.instance === coordinator.instance) - Number(b.node.instance === coordinator.instance),
  )
  refusals.push(...retiredIn(seen.survey, diagnoses).map((each) => describeRetired(each, request.database)))
  return { request, coordinator, targets, stays, refusals: [...new Set(refusals)] }
}

/**
 * The same of one server by itself, which nobody asks about the others.
 * @throws CitusHaError for a session that is no superuser's, and for a schema that is not ours
 */
export async function lookToUninstallHere(
  access: Access,
  request: WalkRequest,
  node: Answered,
  order: UninstallOrder,
  ownPids: readonly number[] = [],
): Promise<Uninstallation> {
  const { address } = node
  const { database } = request
  if (node.untrusted.length > 0)
    throw new CitusHaError('configuration', untrustedSchema(address, node.untrusted))
  const remains = await on(access, database, address, (session) => remainsOn(session, address, order.role))
  const removal = planUninstall(remains, order)
  const refusals = [
    ...unsettledOn([node]),
    ...unsettledRemedies(node),
    ...standsInTheWay(address, remains, ownPids),
    ...schemaStays(removal).map((what) => `${formatAddress(address)}: ${what}`),
  ]
  const stays = staysOn(node, database, removal)
  // It is held as a coordinator is: nobody is at work on it meanwhile.
  return { request, coordinator: node, targets: [{ node, removal }], stays, refusals: [...new Set(refusals)] }
}

/** What is not settled, of which the record would be lost. */
function inDoubt({ survey, coordinator, diagnoses, plan }: View): string[] {
  const answered = survey.nodes.filter((node): node is Answered => node.kind === 'answered')
  const groups = diagnoses
    .filter(({ group, standing }) => standing === 'proved' || (standing === 'refused' && answers(group)))
    .map(
      ({ group, summary }) =>
        `group ${group} is in doubt: ${summary}; run citus-ha status, then: citus-ha reconcile`,
    )
  const old = plan.oldPrimaries.map(
    ({ node }) =>
      `${formatAddress(node)}: an old primary is still running there and has to become a standby first: citus-ha doctor has the command`,
  )
  return [...groups, ...unsettledOn(answered), ...unsettledRemedies(coordinator), ...old]

  function answers(group: number): boolean {
    const row = primaryOf(coordinator.citus?.catalog ?? [], group)
    return answered.some(({ address }) => row !== undefined && sameAddress(address, row.address))
  }
}

function unsettledOn(nodes: readonly Answered[]): string[] {
  const prepared = nodes
    .filter((node) => node.prepared.length > 0)
    .map(
      (node) =>
        `${formatAddress(node.address)}: prepared: ${node.prepared.join(', ')}: citus-ha recover resolves it`,
    )
  const intents = nodes.flatMap(({ address, installed }) =>
    (installed?.intents ?? []).map((intent) => `${formatAddress(address)}: ${describeIntent(intent)}`),
  )
  const kept = nodes
    .filter(({ installed }) => installed?.keepsTransactions)
    .map(
      ({ address }) =>
        `${formatAddress(address)}: it still guards Citus’s records of a group whose primary was down; that ends after ten minutes; then run again: citus-ha uninstall`,
    )
  return [...prepared, ...intents, ...kept]
}

function unsettledRemedies({ citus, installed }: Answered): string[] {
  const catalog = citus?.catalog ?? []
  return (installed?.remedies ?? [])
    .filter((remedy) => !isStale(remedy, catalog))
    .map(
      ({ group, address }) =>
        `group ${group}: the row of ${formatAddress(address)} was changed while that node is down, and only the schema citus_ha has the original row. Start the node and run citus-ha reconcile, which restores the row; or, if it is gone for good: citus-ha forget ${formatAddress(address)}`,
    )
}

/** Primaries on which nothing can be removed now. Standbys get what their primary gets. */
function missing(
  { survey, coordinator, diagnoses }: View,
  nodes: readonly Answered[],
  database: string,
): Stays[] {
  const catalog = coordinator.citus?.catalog ?? []
  return diagnoses.flatMap(({ group, summary }): Stays[] => {
    const row = primaryOf(catalog, group)
    if (!row) return []
    const seen = survey.nodes.find(({ address }) => sameAddress(address, row.address))
    if (seen?.kind === 'answered' && nodes.some(({ instance }) => instance === seen.instance)) return []
    const why = seen && seen.kind !== 'answered' ? show(seen) : summary
    return [{ node: formatAddress(row.address), database, what: `all that was installed there: ${why}` }]
  })
}

function schemaStays({ stays }: Removal): string[] {
  return stays.filter((line) => line.startsWith('schema '))
}

function staysOn({ address }: Pick<Answered, 'address'>, database: string, { stays }: Removal): Stays[] {
  return stays.map((what) => ({ node: formatAddress(address), database, what }))
}

async function on<Result>(
  access: Access,
  database: string,
  address: HostPort,
  work: (session: SessionLike) => Promise<Result>,
): Promise<Result> {
  const session = await access.open(address, database)
  try {
    return await work(session)
  } finally {
    await session.close()
  }
}

/**
 * Removes it: with each coordinator held, so that nobody leads, changes or installs anything meanwhile, first from the other nodes,
 * then from the coordinators, which know most, and last the roles. Each node is a transaction of its own. Where one fails, the
 * coordinators keep theirs, and the same command goes on from there.
 * @param look looks again, once nobody can change anything; given the sessions that hold the coordinators
 * @throws CitusHaError `blocked` where nothing was done
 */
export async function uninstallEverywhere(
  access: Access,
  agreed: readonly Uninstallation[],
  order: UninstallOrder,
  look: (ownPids: readonly number[]) => Promise<readonly Uninstallation[]>,
): Promise<Uninstalled> {
  const holders: SessionLike[] = []
  try {
    for (const { request, coordinator } of agreed) {
      const session = await access.open(coordinator.address, request.database)
      holders.push(session)
      await holdCoordinator(session, IDLE_MS).catch((error: unknown) => {
        throw heldBy(coordinator.address, error)
      })
    }
    const now = await look(holders.map(({ pid }) => pid))
    for (const [n, { coordinator }] of agreed.entries()) await rehearseOn(holders[n], coordinator, order)
    requireSame(agreed, now)
    return await new Removing(access, now, order, holders).run()
  } finally {
    await Promise.all(holders.map((session) => session.close()))
  }
}

/** Whether the coordinator's schema can go is found out before any other is gone. @throws CitusHaError `blocked` */
async function rehearseOn(
  holder: SessionLike | undefined,
  { address }: Answered,
  order: UninstallOrder,
): Promise<void> {
  if (!holder) throw new Error('no session holds the coordinator')
  await holder.run('SAVEPOINT citus_ha_rehearsal', LIMIT_MS)
  const removal = await removeHere(holder, address, order)
  await holder.run('ROLLBACK TO SAVEPOINT citus_ha_rehearsal', LIMIT_MS)
  const [why] = schemaStays(removal)
  if (why !== undefined)
    throw new CitusHaError('blocked', `${formatAddress(address)}: ${why}: nothing was removed`)
}

function heldBy(address: HostPort, error: unknown): unknown {
  if (codeOf(error) !== SqlState.lockNotAvailable) return error
  const why = `${formatAddress(address)}: a watcher, a change or another install is at work there (${messageOf(error)}): nothing was removed`
  return new CitusHaError('blocked', why, { cause: error })
}

/** @throws CitusHaError `blocked` */
function requireSame(agreed: readonly Uninstallation[], now: readonly Uninstallation[]): void {
  const told = (each: readonly Uninstallation[]) =>
    JSON.stringify(
      each.map(({ targets, stays }) => [targets.map(({ node, removal }) => [node.instance, removal]), stays]),
    )
  const refusals = now.flatMap((each) => each.refusals)
  if (refusals.length === 0 && told(now) === told(agreed)) return
  const why = refusals.length > 0 ? `: ${refusals.join('; ')}` : ''
  throw new CitusHaError(
    'blocked',
    `the servers have changed since they were surveyed${why}: nothing was removed; run the same command again`,
  )
}

class Removing {
  readonly #access: Access
  readonly #all: readonly Uninstallation[]
  readonly #order: UninstallOrder
  readonly #holders: readonly SessionLike[]
  readonly #done: { node: string; database: string; step: Step }[] = []
  readonly #stays: Stays[] = []
  #removed = 0

  constructor(
    access: Access,
    all: readonly Uninstallation[],
    order: UninstallOrder,
    holders: readonly SessionLike[],
  ) {
    this.#access = access
    this.#all = all
    this.#order = order
    this.#holders = holders
  }

  async run(): Promise<Uninstalled> {
    this.#stays.push(...this.#all.flatMap(({ stays }) => stays))
    let failure: string | null = null
    try {
      await this.#nodes()
      await this.#requireGone()
      await this.#coordinators()
      await this.#roles()
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error)
    }
    return { done: this.#done, stays: this.#stays, failure }
  }

  async #nodes(): Promise<void> {
    for (const { request, coordinator, targets } of this.#all) {
      for (const { node, removal } of targets) {
        if (node.instance === coordinator.instance) continue
        for (const holder of this.#holders) await holder.run('SELECT 1', LIMIT_MS)
        await this.#on(request, node, removal.steps, (session) =>
          uninstall(session, node.address, this.#order),
        )
      }
    }
  }

  /** A run as a superuser installs where it finds nothing. @throws CitusHaError `blocked` */
  async #requireGone(): Promise<void> {
    for (const { node: address, database, step } of this.#done) {
      if (step.kind !== 'schema') continue
      const target = this.#all
        .filter(({ request }) => request.database === database)
        .flatMap(({ targets }) => targets)
        .find(({ node }) => formatAddress(node.address) === address)
      if (!target) continue
      const { node } = target
      const again = await naming(node, () =>
        on(this.#access, database, node.address, (session) =>
          remainsOn(session, node.address, this.#order.role),
        ),
      )
      if (again.present)
        throw new CitusHaError('blocked', `${address}: another session has installed it again meanwhile`)
    }
  }

  async #coordinators(): Promise<void> {
    for (const [n, { request, coordinator }] of this.#all.entries()) {
      const holder = this.#holders[n]
      if (!holder) throw new Error('no session holds the coordinator')
      await naming(coordinator, async () => {
        const removal = await removeHere(holder, coordinator.address, this.#order)
        await request.hooks.reached('before-coordinator')
        await holder.run('COMMIT', LIMIT_MS)
        this.#tell(coordinator, request.database, removal)
      })
    }
  }

  /** Once each server, whatever the number of its databases. */
  async #roles(): Promise<void> {
    const seen = new Set<string>()
    for (const { request, targets } of this.#all) {
      for (const { node, removal } of targets) {
        if (seen.has(node.instance)) continue
        seen.add(node.instance)
        await this.#on(request, node, removal.roleSteps, (session) =>
          removeRole(session, node.address, this.#order),
        )
      }
    }
  }

  async #on(
    request: WalkRequest,
    node: Answered,
    steps: readonly Step[],
    work: (session: SessionLike) => Promise<Removal>,
  ): Promise<void> {
    request.signal.throwIfAborted()
    if (steps.length === 0) return
    request.progress(`removing from ${formatAddress(node.address)}`)
    const removal = await naming(node, () => on(this.#access, request.database, node.address, work))
    await request.hooks.reached(`removed:${++this.#removed}`)
    this.#tell(node, request.database, removal)
  }

  #tell(node: Answered, database: string, removal: Removal): void {
    const address = formatAddress(node.address)
    for (const step of [...removal.steps, ...removal.roleSteps])
      this.#done.push({ node: address, database, step })
    for (const each of staysOn(node, database, removal)) {
      if (!this.#stays.some(({ node: at, what }) => at === each.node && what === each.what))
        this.#stays.push(each)
    }
  }
}

async function naming<Result>({ address }: Answered, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    const code = codeOf(error)
    const why = `${formatAddress(address)}: ${messageOf(error)}${code === undefined ? '' : ` (${code})`}`
    throw new CitusHaError('blocked', why, { cause: error })
  }
}
