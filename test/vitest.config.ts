import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

/** Too long for a person who waits, and not for the gate: `CI` in the environment. */
const ALSO_IN_CI = ['bare', 'hostile', 'restored', 'statements']

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/**/*.test.ts'],
    exclude: [
      'node_modules/**',
      process.env.CI ? `test/full/!(${ALSO_IN_CI.join('|')}).test.ts` : 'test/full/**',
      'test/crash/**',
      'test/bench/**',
    ],
    globalSetup: ['test/support/global-setup.ts'],
    reporters: ['default', './test/support/summary.ts'],
    // Clusters of eight servers each, in tests that hold the product to its limits of time: each needs about two cores. On two
    // cores a pair of files took as long as one after the other, and was late.
    maxWorkers: availableParallelism() >= 4 ? 2 : 1,
    // Ours is UTF-8, whatever the machine's is: in another locale the program writes ASCII.
    env: { LC_ALL: 'C.UTF-8' },
    testTimeout: 60_000,
    hookTimeout: 120_000,
    retry: 0,
  },
})
