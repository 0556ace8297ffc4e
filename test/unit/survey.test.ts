import { describe, expect, it } from 'vitest'
import { formatAddress, type HostPort } from '../../src/model/node.ts'
import type { Observation } from '../../src/model/observation.ts'
import { survey } from '../../src/observe/survey.ts'
import { address, silent, systemOf, TWO_WORKERS } from '../support/builders.ts'
import { Simulation } from '../support/simulation.ts'

/** One server gives no answer until the test says that its time is over; what happens before that is noted. */
class OneHangs extends Simulation {
  readonly #name: string
  readonly events: string[] = []
  #over: () => void = () => undefined
  readonly #isOver = new Promise<void>((resolve) => {
    this.#over = resolve
  })
  readonly #until: string

  /** @param until the event after which its time is over */
  constructor(name: string, until: string) {
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
    return await super.ask(witness, about)
  }

  #note(event: string): void {
    this.events.push(event)
    if (event === this.#until) this.#over()
  }
}

function cluster(hangs: string, until: string): OneHangs {
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
