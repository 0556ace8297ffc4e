import type { Reporter, TestCase, TestModule } from 'vitest/node'

/** Says why tests were skipped, and closes with the one line that a program can read: `N passed, N failed, N skipped`. */
export default class Summary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()])
    const count = (state: string) => tests.filter((test) => test.result().state === state).length
    // A file that did not load, or an error outside of any test, is a failure too.
    const broken = modules.filter(
      (module) => module.state() === 'failed' && module.children.size === 0,
    ).length
    const failed = count('failed') + broken + errors.length
    for (const [reason, times] of reasonsOf(tests)) process.stdout.write(`\nskipped ${times}: ${reason}`)
    process.stdout.write(`\n${count('passed')} passed, ${failed} failed, ${count('skipped')} skipped\n`)
  }
}

/** How often each reason was given; what a pattern leaves out, or a file's own condition, gives none. */
function reasonsOf(tests: readonly TestCase[]): Map<string, number> {
  const times = new Map<string, number>()
  for (const test of tests) {
    const result = test.result()
    const reason = result.state === 'skipped' ? result.note : undefined
    if (reason !== undefined) times.set(reason, (times.get(reason) ?? 0) + 1)
  }
  return times
}
