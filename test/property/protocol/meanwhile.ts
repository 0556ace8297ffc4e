import { COORDINATOR_GROUP } from '../../../src/model/catalog.ts'
import type { Server } from './server.ts'
import type { World } from './world.ts'

/** The group whose primary a switchover swaps. */
interface About {
  readonly group: number
  readonly from: string
  /** null: whichever is closest. */
  readonly to: string | null
}

type Happens = (world: World, about: About) => void

const AWAY_MS = 700

function standbysOf(world: World, { group, from }: About): Server[] {
  return world.members(group).filter(({ name, inRecovery }) => name !== from && inRecovery)
}

function targetOf(world: World, about: About): Server | undefined {
  return about.to === null ? standbysOf(world, about)[0] : world.server(about.to)
}

const dies =
  (whom: (world: World, about: About) => Server | undefined): Happens =>
  (world, about) => {
    const server = whom(world, about)
    if (server) world.crash(server, AWAY_MS)
  }

const isPromoted =
  (whom: (world: World, about: About) => Server | undefined): Happens =>
  (world, about) => {
    const server = whom(world, about)
    if (server) world.promote(server, 'dead')
  }

/** What others do, or suffer, in the moment in which a switchover comes to a point. */
export const HAPPENS = {
  'the old primary dies': dies((world, { from }) => world.server(from)),
  'the target dies': dies(targetOf),
  'the coordinator dies': dies((world) => world.leading()),
  'others promote another': isPromoted((world, about) =>
    standbysOf(world, about).find((one) => one !== targetOf(world, about)),
  ),
  'others promote the target': isPromoted(targetOf),
  'the coordinator fails over': isPromoted((world) =>
    world.members(COORDINATOR_GROUP).find(({ inRecovery }) => inRecovery),
  ),
  'others reconcile': (world: World) => world.rival(),
} satisfies Readonly<Record<string, Happens>>

export type Meanwhile = keyof typeof HAPPENS
