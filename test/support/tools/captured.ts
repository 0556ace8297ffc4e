/** A call as a tool made it: the tool, `--node` where it was given, its words. A and B stand for the two nodes' addresses. */
export interface Captured {
  readonly tool: 'patroni' | 'repmgr' | 'pgpool'
  readonly node: 'A' | 'B' | null
  readonly words: readonly string[]
}

const patroni = (node: 'A' | 'B', ...words: string[]): Captured => ({ tool: 'patroni', node, words })
const repmgr = (node: 'A' | 'B', event: string, details = ''): Captured => {
  return {
    tool: 'repmgr',
    node,
    words: [node === 'A' ? '1' : '2', event, '1', '2026-11-21 18:07:05+00', details],
  }
}
const pgpool = (...words: string[]): Captured => ({ tool: 'pgpool', node: null, words })
const A = ['A.host', 'A.port', '/data/a'] as const
const B = ['B.host', 'B.port', '/data/b'] as const

/** Patroni 3.0.2: A starts as leader and is lost, B is promoted; switchover to A, and back to B. */
const PATRONI: readonly Captured[] = [
  patroni('A', 'on_role_change', 'master', 'w1'),
  patroni('B', 'on_role_change', 'master', 'w1'),
  patroni('A', 'on_role_change', 'master', 'w1'),
  patroni('B', 'on_role_change', 'replica', 'w1'),
  patroni('B', 'on_role_change', 'master', 'w1'),
]

/** repmgr 5.3.3: the same. */
const REPMGR: readonly Captured[] = [
  repmgr('A', 'cluster_created'),
  repmgr('A', 'primary_register'),
  repmgr(
    'B',
    'standby_register',
    'standby registration succeeded; upstream node ID is 1 (-F/--force option was used)',
  ),
  repmgr('A', 'repmgrd_start', 'monitoring cluster primary "worker-1" (ID: 1)'),
  repmgr('B', 'repmgrd_start', 'monitoring connection to upstream node "worker-1" (ID: 1)'),
  repmgr('B', 'repmgrd_upstream_disconnect', 'unable to connect to upstream node "worker-1" (ID: 1)'),
  repmgr('A', 'repmgrd_local_disconnect', 'unable to connect to local node'),
  repmgr('B', 'standby_promote', 'server "worker-1-standby" (ID: 2) was successfully promoted to primary'),
  repmgr(
    'B',
    'repmgrd_failover_promote',
    'node "worker-1-standby" (ID: 2) promoted to primary; old primary "worker-1" (ID: 1) marked as failed',
  ),
  repmgr('B', 'repmgrd_reload', 'monitoring cluster primary "worker-1-standby" (ID: 2)'),
  repmgr('A', 'node_rejoin', 'node 1 is now attached to node 2'),
  repmgr('B', 'child_node_new_connect', 'new standby "worker-1" (ID: 1) has connected'),
  repmgr('A', 'standby_promote', 'server "worker-1" (ID: 1) was successfully promoted to primary'),
  repmgr('B', 'repmgrd_local_disconnect', 'unable to connect to local node'),
  repmgr(
    'B',
    'repmgrd_standby_reconnect',
    'node has become a standby, monitoring connection to upstream node 1',
  ),
  repmgr(
    'A',
    'standby_switchover',
    'node "worker-1" (ID: 1) promoted to primary, node "worker-1-standby" (ID: 2) demoted to standby',
  ),
  repmgr('B', 'standby_promote', 'server "worker-1-standby" (ID: 2) was successfully promoted to primary'),
  repmgr(
    'B',
    'standby_switchover',
    'node "worker-1-standby" (ID: 2) promoted to primary, node "worker-1" (ID: 1) demoted to standby',
  ),
  repmgr('B', 'repmgrd_shutdown', 'TERM signal received'),
]

/** Pgpool-II 4.3.5: the same. */
const PGPOOL: readonly Captured[] = [
  pgpool('failover', '0', ...A, '1', B[0], '0', '0', B[1], B[2], A[0], A[1]),
  pgpool('follow_primary', '0', ...A, '1', B[0], '0', '0', B[1], B[2], A[0], A[1]),
  pgpool('failover', '1', ...B, '0', A[0], '0', '1', A[1], A[2], B[0], B[1]),
  pgpool('follow_primary', '1', ...B, '0', A[0], '1', '1', A[1], A[2], B[0], B[1]),
  pgpool('failover', '0', ...A, '1', B[0], '0', '0', B[1], B[2], A[0], A[1]),
  pgpool('follow_primary', '0', ...A, '1', B[0], '0', '0', B[1], B[2], A[0], A[1]),
]

export const CAPTURED: readonly Captured[] = [...PATRONI, ...REPMGR, ...PGPOOL]
