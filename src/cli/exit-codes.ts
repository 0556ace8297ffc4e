/** What the exit codes mean, for `--help`, the README and `explain`. */
export const EXIT_CODES = [
  [0, 'every copy of pg_dist_node is up to date, whether or not a change was needed'],
  [1, 'an internal error of citus-ha'],
  [2, 'an error in the command line or the configuration'],
  [3, 'refused: the evidence does not allow a change'],
  [4, 'blocked: locks or nodes blocked the change until the deadline; nothing was changed'],
  [5, 'committed, but not yet verified on every node, or an old primary is not fenced (the report names it)'],
  [129, 'interrupted by SIGHUP: its terminal was closed'],
  [130, 'interrupted by Ctrl-C'],
  [143, 'interrupted by SIGTERM'],
] as const
