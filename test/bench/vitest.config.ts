import { defineConfig } from 'vitest/config'

// Node 20 runs no TypeScript by itself, so the measurements are files of vitest; what they print is the result.
export default defineConfig({
  test: {
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/bench/*.bench.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    reporters: ['dot'],
    disableConsoleIntercept: true,
    maxWorkers: 1,
    testTimeout: 600_000,
    hookTimeout: 120_000,
    retry: 0,
  },
})
