import { defineConfig, mergeConfig } from 'vitest/config'
import base from './vitest.config.ts'

/** Everything, what takes longer too: crashes at every point, repetitions, other versions and images. */
export default mergeConfig(base, defineConfig({ test: { exclude: ['test/bench/**'] } }))
