import { defineConfig } from 'vitest/config'

/** Random faults for `CITUS_HA_SOAK_MINUTES` (10), from the seed `CITUS_HA_SOAK_SEED` (a new one, printed). */
export default defineConfig({
  test: {
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/soak/*.soak.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    reporters: ['verbose'],
    testTimeout: 3_600_000,
    hookTimeout: 120_000,
    retry: 0,
  },
})
