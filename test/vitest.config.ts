import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/**/*.test.ts'],
    exclude: ['node_modules/**', 'test/full/**', 'test/crash/**', 'test/bench/**'],
    globalSetup: ['test/support/global-setup.ts'],
    reporters: ['default', './test/support/summary.ts'],
    // Clusters of six servers each: more at once than cores only makes every one of them late.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    retry: 0,
  },
})
