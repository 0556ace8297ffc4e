/** What the exit codes mean, for `--help` and the README. */
export const EXIT_CODES = [
  [0, 'converged: every copy was proved right, whether or not anything had to change'],
  [1, 'an error of citus-ha itself'],
  [2, 'usage or configuration'],
  [3, 'refused: the evidence does not allow it'],
  [4, 'blocked: locks or nodes did not let it through before the deadline; nothing changed'],
  [5, 'committed, but not yet proved on every copy, or an old primary not fenced (named in the report)'],
] as const
