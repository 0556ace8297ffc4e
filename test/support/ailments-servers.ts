import { type Ailment, citus, cn, OURS, prepared, senders, setting, slot } from './ailment.ts'
import { installed, receiver, standby, writable } from './builders.ts'
import { look, session, unlooked } from './examined.ts'

export const TRANSACTIONS: readonly Ailment[] = [
  {
    id: 'H100',
    name: 'a change of an earlier epoch',
    finds: prepared(OURS, 60_000, 'pg_dist_node'),
    mend: /^citus-ha recover$/,
    misses: 'one that is under way',
    near: prepared(OURS, 50, 'pg_dist_node'),
  },
  {
    id: 'H100',
    name: 'a change of a coordinator on a newer timeline, which this one can’t roll back by itself',
    finds: prepared(OURS.replace(/_\d+(_\d+_[0-9a-f]{8}_\d+)$/, '_9$1'), 60_000, 'pg_dist_node'),
    mend: /^psql -h w1a .*-U postgres .*ROLLBACK PREPARED 'citus_ha_/,
    misses: 'one that is under way',
    near: prepared(OURS, 50, 'pg_dist_node'),
  },
  {
    id: 'H101',
    name: 'another cluster’s change, and locks',
    finds: prepared('citus_ha_c2_app_1_7_deadbeef_1', 60_000, 'shard metadata'),
    mend: /ROLLBACK PREPARED 'citus_ha_c2/,
    misses: 'one without such a lock',
    near: prepared(`it's`, 6000),
  },
  {
    id: 'H102',
    name: 'one of Citus itself, old',
    finds: prepared('citus_0_1234_5_6', 90_000),
    mend: /psql -h cn1 .*recover_prepared_transactions\(\)/,
    misses: 'one half a minute old',
    near: prepared('citus_0_1234_5_6', 30_000),
  },
  {
    id: 'H102',
    name: 'one of Citus, of another group than the coordinator’s',
    finds: prepared('citus_2_1234_5_6', 90_000),
    mend: /psql -h w2a .*"SELECT recover_prepared_transactions\(\)"/,
    misses: 'one half a minute old',
    near: prepared('citus_2_1234_5_6', 30_000),
  },
  {
    id: 'H102',
    name: 'the same, beside an old primary of that group, whose recovery would roll back what others have just prepared',
    finds: {
      ...prepared('citus_2_1234_5_6', 90_000),
      nodes: [writable('w2a', 2, { readOnly: true }), writable('w2c', 2)],
    },
    look: /psql -h w1a .*SELECT \* FROM pg_prepared_xacts WHERE gid = /,
    misses: 'one half a minute old',
    near: prepared('citus_2_1234_5_6', 30_000),
  },
  {
    id: 'H102',
    name: 'one of Citus that a retired server has prepared',
    finds: {
      ...prepared('citus_1000000001_1234_5_6', 90_000),
      nodes: [writable('w1c', 1, { retired: true, readOnly: true })],
    },
    mend: /psql -h w1c .*"BEGIN READ WRITE; SELECT recover_prepared_transactions\(\); COMMIT"/,
    misses: 'one half a minute old',
    near: prepared('citus_1000000001_1234_5_6', 30_000),
  },
  {
    id: 'H102',
    name: 'one of Citus that a retired server has prepared, which is gone',
    finds: prepared('citus_1000000001_1234_5_6', 90_000),
    look: /psql -h w1a .*SELECT \* FROM pg_prepared_xacts WHERE gid = /,
    misses: 'one half a minute old',
    near: prepared('citus_1000000001_1234_5_6', 30_000),
  },
  {
    id: 'H110',
    name: 'a standby without slots',
    finds: setting('w1b', 'max_prepared_transactions', '0'),
    mend: /psql -h w1b .*ALTER SYSTEM SET max_prepared_transactions/,
    misses: 'one slot',
    near: setting('w1b', 'max_prepared_transactions', '1'),
  },
  {
    id: 'H111',
    name: 'all slots taken',
    finds: {
      seen: {
        w1a: {
          session: session({ max_prepared_transactions: '2' }),
          prepared: look({ inUse: 2, transactions: [] }),
        },
      },
    },
    mend: /max_prepared_transactions/,
    misses: 'one left',
    near: {
      seen: {
        w1a: {
          session: session({ max_prepared_transactions: '2' }),
          prepared: look({ inUse: 1, transactions: [] }),
        },
      },
    },
  },
  {
    id: 'H120',
    name: 'two are waited for, and one is there',
    finds: {
      nodes: [writable('w1a', 1, { senders: senders('quorum') })],
      ...setting('w1a', 'synchronous_standby_names', 'ANY 2 (*)'),
    },
    mend: /SET synchronous_standby_names = ''.* && .*pg_reload_conf/,
    misses: 'one is waited for',
    near: {
      nodes: [writable('w1a', 1, { senders: senders('sync', 'potential') })],
      ...setting('w1a', 'synchronous_standby_names', 'FIRST 1 (*)'),
    },
  },
  {
    id: 'H121',
    name: 'the group’s only standby would wait for another',
    finds: setting('w1b', 'synchronous_standby_names', '*'),
    mend: /psql -h w1b .*SET synchronous_standby_names = ''/,
    misses: 'another streams from it already',
    near: {
      nodes: [standby('w1b', 1, 'w1a', { senders: senders('async') }), standby('w1c', 1, 'w1b')],
      ...setting('w1b', 'synchronous_standby_names', 'FIRST 1 (other, "B")'),
    },
  },
  {
    id: 'H121',
    name: 'one of two would wait for the other, which does not follow by itself',
    finds: {
      nodes: [standby('w1c', 1, 'w1a')],
      ...setting('w1b', 'synchronous_standby_names', '*'),
    },
    mend: /psql -h w1b .*SET synchronous_standby_names = ''/,
    misses: 'the one that streams from it is not among those it waits for, but nobody is waited for',
    near: { ...setting('w1b', 'synchronous_standby_names', '') },
  },
  {
    id: 'H190',
    name: 'a logical slot that the standby does not have',
    finds: {
      seen: {
        w1a: { slots: look([slot({})]) },
        w1b: { slots: look([slot({ name: 'other', synced: true })]) },
      },
    },
    look: /psql -h w1a .*feed/,
    misses: 'it is kept on the standby',
    near: {
      seen: {
        w1a: { slots: look([slot({ failover: true })]) },
        w1b: { slots: look([slot({ synced: true })]) },
      },
    },
  },
  {
    id: 'H130',
    name: 'a daemon that has waited for half a minute',
    finds: {
      seen: { cn1: { daemons: look([{ name: 'Citus Maintenance Daemon', pid: 7, busyMs: 30_000 }]) } },
    },
    look: /pg_stat_activity WHERE pid = 7/,
    misses: 'one at work',
    near: { seen: { cn1: { daemons: look([{ name: 'Citus Maintenance Daemon', pid: 7, busyMs: 300 }]) } } },
  },
]

export const SERVERS: readonly Ailment[] = [
  {
    id: 'H140',
    name: 'the schema is old',
    finds: { nodes: [writable('w1a', 1, { installed: installed({ migration: 1 }) })] },
    mend: /^citus-ha install --user postgres/,
    misses: 'that of a standby: it is its primary’s',
    near: { nodes: [standby('w1b', 1, 'w1a', { installed: null })] },
  },
  {
    id: 'H143',
    name: 'rights of a switchover, some of which are missing',
    finds: {
      seen: {
        w1a: {
          switchoverRights: look({
            granted: ['EXECUTE ON FUNCTION pg_catalog.pg_reload_conf()'],
            missing: ['ALTER SYSTEM ON PARAMETER citus.recover_2pc_interval'],
          }),
        },
      },
    },
    mend: /^citus-ha install --switchover --role citus_ha --user postgres/,
    misses: 'none of them: nobody asked for a switchover',
    near: { seen: { w1a: { switchoverRights: look({ granted: [], missing: ['x'] }) } } },
  },
  {
    id: 'H141',
    name: 'a function that may not be executed',
    finds: { seen: { w1a: { missingRights: look(['rewrite(int, bigint, jsonb, int[])']) } } },
    mend: /citus-ha install --role citus_ha/,
    misses: 'on a standby, of which its primary’s finding tells',
    near: { seen: { w1b: { missingRights: look(['rewrite(int, bigint, jsonb, int[])']) } } },
  },
  {
    id: 'H142',
    name: 'a superuser',
    finds: { nodes: [cn({ superuser: true })] },
    look: /citus_ha@/,
    misses: 'the role',
    near: {},
  },
  {
    id: 'H150',
    name: 'a role that is read-only by default',
    finds: {
      ...setting('w1a', 'default_transaction_read_only', 'on'),
      nodes: [writable('w1a', 1, { readOnly: true })],
    },
    mend: /psql -h w1a .*BEGIN READ WRITE; .*ALTER ROLE citus_ha RESET default_transaction_read_only; COMMIT/,
    misses: 'the same on a standby, from its primary',
    near: setting('w1b', 'default_transaction_read_only', 'on'),
  },
  {
    id: 'H160',
    name: 'a clock an hour ahead',
    finds: { seen: { w2a: { clock: look({ offsetMs: 3_600_000, withinMs: 1 }) } } },
    look: /chronyc/,
    misses: 'one that was asked so slowly that nothing follows',
    near: { seen: { w2a: { clock: look({ offsetMs: 2500, withinMs: 2500 }) } } },
  },
  {
    id: 'H170',
    name: 'another release of Citus',
    finds: {
      nodes: [writable('w1a', 1, citus('Citus 12.1.4 on x')), ...['cn1'].map(() => cn(citus('13.2-2')))],
      seen: { w1a: { session: unlooked('busy') } },
    },
    look: /SELECT citus_version.*upgraded/,
    misses: 'another patch of it',
    near: { nodes: [writable('w1a', 1, citus('Citus 13.2.4 on x'))] },
  },
  {
    id: 'H171',
    name: 'another PostgreSQL',
    finds: { nodes: [writable('w1a', 1, { serverVersion: 160_004 })] },
    look: /SELECT version.*upgraded/,
    misses: 'another minor version of it',
    near: { nodes: [writable('w1a', 1, { serverVersion: 150_004 })] },
  },
  {
    id: 'H172',
    name: 'another minor version',
    finds: { nodes: [writable('w1a', 1, { serverVersion: 150_004 })] },
    look: /SELECT version.*upgraded/,
    misses: 'the same',
    near: {},
  },
  {
    id: 'H900',
    name: 'settings that could not be read',
    finds: { seen: { w1a: { session: unlooked('permission denied') } } },
    look: /citus-ha doctor/,
    misses: 'a node without Citus',
    near: {
      nodes: [writable('other', 1, { citus: null, readsStatistics: false, receiver: receiver(null) })],
    },
  },
]
