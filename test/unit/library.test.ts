import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'
import * as library from '../../src/index.ts'
import { installed, standby, surveyOf, testimony, writable } from '../support/builders.ts'
import { FAILED_OVER, KNOWN } from '../support/planned.ts'

const DECLARATIONS = fileURLToPath(new URL('../../dist/index.d.ts', import.meta.url))
const { diagnose, plan, reconcile, survey, watch } = library

describe('what the package exports', () => {
  test('is five functions and an error, and nothing else that runs', () => {
    expect(Object.keys(library).sort()).toEqual([
      'CitusHaError',
      'diagnose',
      'plan',
      'reconcile',
      'survey',
      'watch',
    ])
  })

  test('is these types, and no others', () => {
    const program = ts.createProgram([DECLARATIONS], { module: ts.ModuleKind.NodeNext, skipLibCheck: true })
    const checker = program.getTypeChecker()
    const file = program.getSourceFile(DECLARATIONS)
    const module = file && checker.getSymbolAtLocation(file)
    if (!module) throw new Error(`${DECLARATIONS} is no module`)
    const names = checker.getExportsOfModule(module).map(({ name }) => name)
    expect(names.filter((name) => !(name in library)).sort()).toEqual([
      'Claims',
      'ClusterOptions',
      'Diagnosis',
      'Logger',
      'Plan',
      'PlanOptions',
      'ReconcileOptions',
      'Report',
      'Survey',
      'WatchEvent',
      'WatchOptions',
    ])
  })
})

describe('diagnose and plan', () => {
  test('need nothing but a survey', () => {
    const coordinator = writable('cn1', 0, { installed: installed({ lineage: KNOWN }) })
    const rest = [...FAILED_OVER, writable('w2a', 2), standby('w2b', 2, 'w2a')]
    const seen = surveyOf([coordinator, ...rest], [testimony('cn1', 'w1a:5432', 'down')])
    const diagnoses = diagnose(seen)
    expect(diagnoses.map(({ group, code }) => [group, code])).toEqual([
      [0, 'healthy'],
      [1, 'promoted'],
      [2, 'healthy'],
    ])
    const changes = plan(seen, diagnoses).changes
    expect(changes).toContainEqual(
      expect.objectContaining({ kind: 'primary-moved', from: 'w1a:5432', to: 'w1b:5432' }),
    )
    expect(plan(seen, diagnoses, { groups: [2] }).changes).toEqual([])
  })

  test('no plan without a coordinator', () => {
    const seen = surveyOf([standby('w1b', 1, null)])
    expect(() => plan(seen, diagnose(seen))).toThrow(expect.objectContaining({ name: 'CitusHaError' }))
  })
})

describe('every call', () => {
  const never = new AbortController().signal
  const nowhere = { coordinators: ['postgres://citus_ha@127.0.0.1:1/app'], env: { HOME: '/nonexistent' } }
  const calls = [
    ['survey', survey],
    ['reconcile', reconcile],
    ['watch', watch],
  ] as const

  test.each(calls)('%s: what is no good is a CitusHaError with a code, in one line', async (_, call) => {
    for (const [wrong, message] of [
      [{ coordinators: [] }, /no coordinator/],
      [{ coordinators: ['mysql://u:hunter2@h/d'] }, /option coordinators\[0\]: .*postgres:\/\//],
      [{ coordinators: ['postgres://h:99999/d'] }, /option coordinators\[0\]: a port/],
      [{ settings: { detect: { interval: 'often' } } }, /detect\.interval: expected a duration/],
      [{ settings: { nosuch: 1 } }, /nosuch: unknown key/],
    ] as const) {
      const error = await call({ ...nowhere, signal: never, ...wrong }).catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({
        name: 'CitusHaError',
        code: 'configuration',
        message: expect.stringMatching(message),
      })
      expect(error).toBeInstanceOf(library.CitusHaError)
      expect(String(error)).not.toMatch(/\n|hunter2|--/)
    }
  })

  test.each(calls)('%s: an option that no type allows is named', async (_, call) => {
    // As a program without types would.
    const untyped = call as (options?: object) => Promise<unknown>
    const wrong = async (options?: object) => await untyped(options).catch((thrown: unknown) => thrown)
    const usage = (message: RegExp) => ({ code: 'usage', message: expect.stringMatching(message) })
    expect(await wrong()).toMatchObject(usage(/^expected an object of options/))
    for (const [given, message] of [
      [{ coordinators: 'postgres://u:hunter2@h/d' }, /^option coordinators: expected an array/],
      [{ coordinators: undefined }, /^option coordinators: expected an array/],
      [{ signal: 1 }, /^option signal: expected an AbortSignal/],
      [{ log: {} }, /^option log: expected an object with the methods info and warn/],
      [{ settings: 'x' }, /^option settings: expected an object/],
      [{ coordinator: 'x' }, /^unknown option coordinator; did you mean coordinators\?/],
    ] as const)
      expect(await wrong({ ...nowhere, signal: never, ...given })).toMatchObject(usage(message))
  })

  test('reconcile and watch: their own options, too', async () => {
    const untyped = reconcile as (options: object) => Promise<unknown>
    for (const [given, message] of [
      [{ waitMs: 'x' }, /^option waitMs: expected a number of milliseconds/],
      [{ group: '1' }, /^option group: expected a group id/],
      [{ mode: 'dry' }, /^option mode: expected 'apply' or 'dry-run'/],
    ] as const)
      await expect(untyped({ ...nowhere, ...given })).rejects.toThrow(message)
    await expect(watch({ ...nowhere, onEvent: 1 } as never)).rejects.toThrow(/^option onEvent: expected a/)
  })

  test('survey and reconcile need no signal', async () => {
    expect((await survey(nowhere)).nodes).toMatchObject([{ kind: 'unreachable' }])
    await expect(reconcile(nowhere)).rejects.toMatchObject({ code: 'no-coordinator' })
  })

  test.each(calls)('%s: an aborted signal gives its own reason', async (_, call) => {
    const reason = new Error('enough')
    await expect(call({ ...nowhere, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  test('reconcile: a promoted node is HOST:PORT', async () => {
    const wrong = reconcile({ ...nowhere, signal: never, promoted: 'w1b' })
    await expect(wrong).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringMatching(/expected HOST:PORT/),
    })
  })

  test('reconcile: nobody answers', async () => {
    await expect(reconcile({ ...nowhere, signal: never })).rejects.toMatchObject({ code: 'no-coordinator' })
  })
})
