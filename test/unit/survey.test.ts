import { setImmediate } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../../src/demo/wait.ts'
import { formatAddress, type HostPort } from '../../src/model/node.ts'
import type { Observation } from '../../src/model/observation.ts'
import { tryNames } from '../../src/observe/names.ts'
import type { Prober } from '../../src/observe/prober.ts'
import { askedLast, survey } from '../../src/observe/survey.ts'
import { aliasOf } from '../../src/plan/alias.ts'
import {
  address,
  left,
  silent,
  standby,
  systemOf,
  TWO_WORKERS,
  testimony,
  writable,
} from '../support/builders.ts'
import { Simulation } from '../support/simulation.ts'

/** One server gives no answer until the test says that its time is over; what happens before that is noted. */
class OneHangs extends Simulation {
  readonly #name: string
  readonly events: string[] = []
  #over: () => void = () => undefined
  readonly #isOver = new Promise<void>((resolve) => {
    this.#over = resolve
  })
  readonly #until: string | null

  /** @param until the event after which its time is over; null: the test says when, and witnesses wait for it as well */
  constructor(name: string, until: string | null) {
    super()
    this.#name = name
    this.#until = until
  }

  override async probe(at: HostPort): Promise<Observation> {
    this.#note(`asked ${at.host}`)
    if (at.host !== this.#name) return await super.probe(at)
    await this.#isOver
    return silent(at.host, 'timeout')
  }

  override async ask(witness: HostPort, about: HostPort) {
    this.#note(`asked about ${about.host}`)
    if (this.#until === null && about.host === this.#name) await this.#isOver
    return await super.ask(witness, about)
  }

  timeIsOver(): void {
    this.#over()
  }

  #note(event: string): void {
    this.events.push(event)
    if (event === this.#until) this.#over()
  }
}

function cluster(hangs: string, until: string | null): OneHangs {
  const simulation = new OneHangs(hangs, until)
  for (const row of TWO_WORKERS) {
    const { group, role, address: at } = row
    const upstream = role === 'secondary' ? at.host.replace('b', 'a') : null
    simulation.add(at.host, {
      group,
      system: systemOf(group),
      catalog: TWO_WORKERS,
      inRecovery: upstream !== null,
      upstream,
    })
  }
  simulation.add('cn2', {
    group: 0,
    system: systemOf(0),
    catalog: TWO_WORKERS,
    inRecovery: true,
    upstream: 'cn1',
  })
  return simulation
}

describe('a survey in which one node hangs', () => {
  // Each waits for what is asked for beside it: where that came afterwards, this would not end.
  it.each([
    ['a coordinator candidate', 'cn2', 'asked w2b'],
    ['a worker', 'w2a', 'asked about w2a'],
    ['a secondary', 'w2b', 'asked about w2b'],
  ])('%s: what others name and witnesses say is found meanwhile', async (_, hangs, until) => {
    const simulation = cluster(hangs, until)
    const seen = await survey(simulation, {
      database: 'app',
      seeds: [address('cn1'), address('cn2')],
      witnessFreshnessMs: 5000,
      now: () => new Date(0),
      silence: null,
      names: { aliasOf: () => null, ofPrimaries: true, ofSecondaries: true, promoting: [] },
    })
    const kinds = Object.fromEntries(seen.nodes.map((node) => [formatAddress(node.address), node.kind]))
    expect(kinds[`${hangs}:5432`]).toBe('unreachable')
    expect(Object.keys(kinds)).toHaveLength(6)
    expect(simulation.events.filter((event) => event === `asked about ${hangs}`).length).toBeLessThanOrEqual(
      2,
    )
  })
})

describe('a survey in a hurry, in which a node hangs that is known to', () => {
  const look = (simulation: OneHangs, hangs: string) =>
    survey(simulation, {
      database: 'app',
      seeds: [address('cn1'), address('cn2')],
      witnessFreshnessMs: 5000,
      now: () => new Date(0),
      names: { aliasOf: () => null, ofPrimaries: false, ofSecondaries: false, promoting: [] },
      silence: {
        nodes: [silent(hangs, 'timeout')],
        testimony: [testimony('cn1', hangs, 'down')],
        hurry: Promise.resolve(),
      },
    })
  it.each(['cn2', 'w2a', 'w2b'])('%s: is not waited for again', async (hangs) => {
    const simulation = cluster(hangs, null)
    simulation.promote('w1b', '0/40')
    const { nodes, testimony: told } = await look(simulation, hangs)
    expect(nodes.filter(({ kind }) => kind !== 'answered')).toEqual([silent(hangs, 'timeout')])
    if (hangs === 'w2a') expect(told).toContainEqual(testimony('cn1', hangs, 'down'))
  })

  it('but for the primary of a group another member of which takes writes', async () => {
    const simulation = cluster('w2a', null)
    simulation.promote('w2b', '0/40')
    let isOver = false
    const looking = look(simulation, 'w2a').finally(() => {
      isOver = true
    })
    await waitUntil('it was asked about', () => simulation.events.includes('asked about w2a'))
    await setImmediate()
    expect(isOver).toBe(false)
    simulation.timeIsOver()
    await looking
  })

  it('one that is back is seen as it is', async () => {
    const simulation = cluster('nobody', null)
    const { nodes } = await look(simulation, 'w2a')
    expect(nodes.every(({ kind }) => kind === 'answered')).toBe(true)
  })
})

describe('a primary that is behind a standby which lives is asked once more, after that one', () => {
  const ahead = standby('w1b', 1, 'w1a', { lsn: 0x50n })
  const written = (lsn: bigint) => writable('w1a', 1, { lsn })

  it.each<[string, readonly Observation[], Observation, readonly string[], bigint | null]>([
    ['it has written since', [written(0x40n), ahead], written(0x60n), ['w1a'], 0x60n],
    ['it lacks that', [written(0x40n), ahead], written(0x40n), ['w1a'], 0x40n],
    ['it does not answer any more', [written(0x40n), ahead], silent('w1a'), ['w1a'], null],
    ['not one that has as much', [written(0x50n), ahead], written(0x60n), [], 0x50n],
    [
      'not one of another line',
      [written(0x40n), { ...ahead, timeline: 2, history: [left(1, '0/30')] }],
      written(0x60n),
      [],
      0x40n,
    ],
    [
      'not one of another system',
      [written(0x40n), { ...ahead, systemIdentifier: systemOf(2) }],
      written(0x60n),
      [],
      0x40n,
    ],
  ])('%s', async (_, nodes, again, expected, lsn) => {
    const asked: string[] = []
    const probe = async ({ host }: HostPort) => {
      asked.push(host)
      return again
    }
    const [primary, other] = await askedLast({ probe }, nodes)
    expect(asked).toEqual(expected)
    expect(primary).toMatchObject(lsn === null ? again : { kind: 'answered', lsn })
    expect(other).toEqual(nodes[1])
  })

  it('where it does not answer then, that is what is seen, and witnesses are asked about it', async () => {
    const seen = [writable('cn1', 0), written(0x40n), ahead, writable('w2a', 2), standby('w2b', 2, 'w2a')]
    let times = 0
    const prober: Prober = {
      probe: async ({ host }) =>
        host === 'w1a' && times++ > 0
          ? silent(host, 'timeout')
          : (seen.find((node) => node.address.host === host) ?? silent(host)),
      ask: async (witness, about) => testimony(witness.host, about.host, 'down'),
      held: async () => null,
    }
    const { nodes, testimony: told } = await survey(prober, {
      database: 'app',
      seeds: [address('cn1')],
      witnessFreshnessMs: 5000,
      now: () => new Date(0),
      silence: null,
      names: { aliasOf: () => null, ofPrimaries: false, ofSecondaries: false, promoting: [] },
    })
    expect(nodes.find((node) => node.address.host === 'w1a')).toEqual(silent('w1a', 'timeout'))
    expect(told.map(({ about }) => about.host)).toContain('w1a')
  })
})

describe('whether it is reached by the other name that it may lend, is asked', () => {
  const [primary, standbyOf] = [writable('w1a', 1), standby('w1b', 1, 'w1a')]
  const promoted = writable('w1b', 1, { timeline: 2, history: [left(1, '0/30')] })

  it.each<[string, readonly Observation[], readonly string[]]>([
    ['nobody, where nothing is amiss', [primary, standbyOf], []],
    ['of the primary, where its only secondary is down', [primary, silent('w1b')], ['W1A']],
    ['of the promoted one, where the primary is down', [silent('w1a'), promoted], ['W1B']],
    ['of the promoted one, where the primary follows it', [standby('w1a', 1, 'w1b'), promoted], ['W1B']],
    ['of both, where the primary runs on beside it', [primary, promoted], ['W1B', 'W1A']],
    ['nobody, where both are down', [silent('w1a'), silent('w1b')], []],
  ])('%s', async (_, nodes, expected) => {
    const asked: string[] = []
    const prober: Prober = {
      probe: async (at) => silent(at.host),
      ask: async (witness, about) => {
        asked.push(about.host)
        return testimony(witness.host, about.host, 'alive')
      },
      held: async () => null,
    }
    const others = [writable('cn1', 0), writable('w2a', 2), standby('w2b', 2, 'w2a')]
    const names = { ofPrimaries: true, ofSecondaries: false, promoting: [] }
    await tryNames(prober, [...others, ...nodes], { ...names, aliasOf: (at) => aliasOf(at, []) })
    expect(asked).toEqual(expected)
  })
})
