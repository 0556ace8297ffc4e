import type { Backup, Server } from './server.ts'
import type { World } from './world.ts'

/** What becomes of a group's servers by itself, or by somebody's hand. `whom`: one of them. */
type Happens = (world: World, whom: Server) => void

/** The data of a member is what a backup of its group has, and it takes writes. @param taken see `Server.promote` */
function restore(world: World, whom: Server, taken: number): void {
  const backup = drawn(world, whom)
  if (!backup) return
  world.disturbed(whom)
  whom.restoreInRecovery(backup)
  world.othersPromoted.add(whom)
  whom.promote(taken)
}

function drawn(world: World, { group }: Server): Backup | undefined {
  const all = world.backups.get(group) ?? []
  return all[Math.floor(world.random() * all.length)]
}

export const HAPPENS = {
  /** Of an old standby, or of the registered primary; whoever else there is goes on. */
  'a backup': (world, whom) => restore(world, whom, 0),
  'a backup, known to the archive': (world, whom) => restore(world, whom, 1),
  /** The primary's disk is put back to what it was. */
  'a disk snapshot': (world, whom) => {
    const [primary] = world.primaries(whom.group)
    const backup = primary && drawn(world, primary)
    if (!primary || backup?.timeline !== primary.timeline) return
    world.disturbed(primary)
    primary.restore(backup)
  },
  /** Two standbys are promoted at the same moment. */
  twins: (world, whom) => {
    const standbys = world.members(whom.group).filter(({ up, inRecovery }) => up && inRecovery)
    for (const [n, standby] of standbys.slice(0, 2).entries())
      world.promote(standby, n === 0 ? 'dead' : 'alive')
  },
  /** Whoever was a primary and died is started as it was. */
  'one comes back': (world, whom) => {
    const old = world.members(whom.group).find(({ up, inRecovery }) => !up && !inRecovery)
    if (!old) return
    world.disturbed(old)
    old.start()
  },
} satisfies Readonly<Record<string, Happens>>

export type Happening = keyof typeof HAPPENS
