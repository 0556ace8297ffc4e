import { EventEmitter } from 'node:events'
import type { World } from './world.ts'

/** What a switchover's commands do: a person's, or an HA tool's. */
const COMMANDS: Readonly<Record<string, (world: World, old: string, target: string) => void>> = {
  /** A clean shutdown: whatever is attached has all of its WAL first. */
  stop: (world, host) => {
    for (const standby of world.followers(host)) standby.replay()
    world.get(host).crash()
  },
  /** Whoever was replaced meanwhile is kept down by whoever replaced it. */
  start: (world, host) => {
    const server = world.get(host)
    const others = world.primaries(server.group).filter((one) => one !== server)
    if (!others.some((one) => world.othersPromoted.has(one))) server.start()
  },
  promote: (world, _old, target) => {
    const server = world.get(target)
    if (server.up) server.promote()
  },
  /** A manager's own switchover: the old primary comes back as a standby of the new one. */
  'hand over': (world, old, target) => {
    const [was, is] = [world.get(old), world.get(target)]
    if (!is.up || !is.inRecovery) return
    is.replay()
    was.crash()
    is.promote()
    world.clock.after(LONGEST_MS, null, () => {
      if (is.up && !is.inRecovery && !was.up) was.follow(is)
    })
  },
}

const LONGEST_MS = 60
/** How many of them fail, with nothing done. */
const FAILED = 0.1

let current: World | null = null

/** Whose servers commands are about; null: nobody runs any. */
export function useShell(world: World | null): void {
  current = world
}

/** For `node:child_process`: a command goes on when whoever began it has died. */
export function spawn(_shell: string, [, command]: readonly string[], { env }: { env: NodeJS.ProcessEnv }) {
  const world = current
  const work = COMMANDS[command ?? '']
  const [host, target] = [env.CITUS_HA_OLD_HOST, env.CITUS_HA_NEW_HOST]
  if (!world || !work || !host || !target) throw new Error(`nobody runs “${command}” here`)
  const { owner } = world.clock
  const child = Object.assign(new EventEmitter(), { pid: undefined, stdout: stream(), stderr: stream() })
  world.note(`${command} ${host}`)
  world.count(`command: ${command}`)
  const fails = world.random() < FAILED
  world.clock.after(world.random() * LONGEST_MS, null, () => {
    if (fails) world.count('command: fails')
    else work(world, host, target)
    world.clock.after(0, owner, () => {
      child.emit('exit', fails ? 1 : 0, null)
      child.emit('close')
    })
  })
  return child
}

/** It says nothing. */
function stream() {
  const silent = Object.assign(new EventEmitter(), { setEncoding: () => silent, destroy: () => undefined })
  return silent
}
