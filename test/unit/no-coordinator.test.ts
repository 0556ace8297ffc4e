import { expect, test } from 'vitest'
import type { CitusHaError } from '../../src/model/failure.ts'
import type { Observation } from '../../src/model/observation.ts'
import { requireCoordinator } from '../../src/walk/checks.ts'
import { describeError } from '../../src/walk/describe-error.ts'
import { silent, standby, surveyOf, writable } from '../support/builders.ts'

function thrownFor(...nodes: Observation[]): CitusHaError {
  try {
    requireCoordinator(surveyOf(nodes))
  } catch (error) {
    return error as CitusHaError
  }
  throw new Error('a coordinator was found')
}

test('a line for each server, and what to do next: start what is down, and promote its standby only if it is gone for good', () => {
  const thrown = thrownFor(silent('cn1'), standby('cn2', 0, null), writable('w1a', 1))
  const promote = 'psql -h cn2 -p 5432 -d postgres -U postgres -c "SELECT pg_promote()" && citus-ha reconcile'
  expect(thrown).toMatchObject({ name: 'CitusHaError', code: 'no-coordinator' })
  expect(describeError(thrown)).toMatchObject({
    exitCode: 4,
    lines: [
      'no writable coordinator answers: 3 servers were asked',
      expect.stringMatching(/^ {2}cn1:5432: unreachable /),
      expect.stringMatching(/^ {2}cn2:5432: in recovery/),
      expect.stringMatching(
        /^ {2}w1a:5432: .*: it is a worker; its pg_dist_node names cn1:5432 as the coordinator$/,
      ),
      `next: psql -h cn1 -p 5432 -d app -U citus_ha -c "SELECT 1"   # does not answer citus-ha: start it; only if it is gone for good: ${promote}`,
    ],
  })
  // Logs and programs have one line.
  expect(thrown.message).toMatch(/^no writable coordinator answers: cn1:5432: .*; next: psql /)
  expect(thrown.message).not.toContain('\n')
})

test('one that is down, and no standby that is known', () => {
  const { lines } = describeError(thrownFor(silent('cn1')))
  expect(lines).toEqual([
    expect.stringMatching(/^no writable coordinator answers: cn1:5432: unreachable /),
    'next: psql -h cn1 -p 5432 -d app -U citus_ha -c "SELECT 1"   # does not answer citus-ha: start it; only if it is gone for good: promote a standby of the coordinator, then, with the URL of that standby as well: citus-ha reconcile',
  ])
})

test('workers alone: the URL of the coordinator that they name', () => {
  const { lines } = describeError(thrownFor(writable('w1a', 1), writable('w2a', 2)))
  expect(lines.at(-1)).toBe('next: give the URL of the coordinator: --coordinator postgres://cn1:5432/app')
})
