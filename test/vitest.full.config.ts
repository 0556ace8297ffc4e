import { defineConfig } from 'vitest/config'
import base from './vitest.config.ts'

/** Everything, what takes longer too: crashes at every point, repetitions, other versions and images. */
export default defineConfig({ test: { ...base.test, exclude: ['node_modules/**', 'test/bench/**'] } })
