import { NO_CLAIMS } from '../../src/diagnose/facts.ts'
import { type Ailment, cn, copyOfGroup0, reaches, setting, withRows } from './ailment.ts'
import {
  address,
  installed,
  left,
  primaryRow,
  secondaryRow,
  silent,
  standby,
  TWO_WORKERS,
  writable,
} from './builders.ts'
import { KNOWN_LINES } from './examined.ts'

export const GROUPS: readonly Ailment[] = [
  {
    id: 'H010',
    name: 'two coordinators',
    finds: { facts: { unclear: 'cn1 and cn2 both take writes' } },
    mend: /pg_ctl stop/,
    misses: 'one',
    near: {},
  },
  {
    id: 'H020',
    name: 'a writable expand coordinator whose daemon recovers',
    finds: copyOfGroup0('60000'),
    mend: /recover_2pc_interval = -1.* && .*pg_reload_conf/,
    misses: 'one whose daemon does not',
    near: copyOfGroup0('-1'),
  },
  {
    id: 'H021',
    name: 'a writable expand coordinator with nodes to sync',
    finds: {
      nodes: [
        writable('cnx', 0, {
          systemIdentifier: '9',
          citus: { useSecondaryNodes: 'always' },
          catalog: [primaryRow(2, 1, { at: 'w1a', metadatasynced: false })],
        }),
      ],
    },
    mend: /metadatasynced = true/,
    misses: 'one with none',
    near: copyOfGroup0('-1'),
  },
  {
    id: 'H030',
    name: 'split brain',
    finds: { nodes: [writable('w1b', 1, { timeline: 2, history: [left(1, '0/50')] })] },
    mend: /^pg_ctl stop .*reconcile --group 1/,
    misses: 'a standby',
    near: {},
  },
  {
    id: 'H180',
    name: 'an old primary that a switchover left running',
    finds: {
      nodes: [
        cn({
          catalog: TWO_WORKERS.map((row) =>
            row.nodeid === 2
              ? { ...row, address: address('w1b') }
              : row.nodeid === 3
                ? { ...row, address: address('w1a') }
                : row,
          ),
        }),
        writable('w1a', 1, { readOnly: true }),
        writable('w1b', 1, { timeline: 2, history: [left(1, '0/50')] }),
      ],
    },
    mend: /pg_rewind .*host=w1b/,
    misses: 'a primary',
    near: {},
  },
  {
    id: 'H182',
    name: 'an old primary that is retired and still takes writes',
    finds: { nodes: [writable('w1b', 1, { retired: true })] },
    mend: /pg_rewind .*host=w1a/,
    misses: 'one that is read-only',
    near: { nodes: [writable('w1b', 1, { retired: true, readOnly: true })] },
  },
  {
    id: 'H181',
    name: 'a standby that was a retired primary, started again as it was',
    finds: setting('w1b', 'citus.recover_2pc_interval', '-1'),
    mend: /psql .*SET citus.recover_2pc_interval = '60s'.* && .*pg_reload_conf/,
    misses: 'one that recovers rarely',
    near: setting('w1b', 'citus.recover_2pc_interval', '3600000'),
  },
  {
    id: 'H031',
    name: 'a promotion that nobody wrote down',
    finds: {
      nodes: [
        standby('w1a', 1, 'w1b', { timeline: 2 }),
        writable('w1b', 1, { timeline: 2, history: [left(1, '0/50')] }),
      ],
    },
    mend: /reconcile/,
    misses: 'none',
    near: {},
  },
  {
    id: 'H040',
    name: 'a primary that does not answer',
    finds: { nodes: [silent('w1a', 'timeout')] },
    look: /psql -h w1a/,
    misses: 'a secondary that does not',
    near: { nodes: [silent('w1b')] },
  },
  {
    id: 'H041',
    name: 'the only standby is gone',
    finds: { nodes: [silent('w1b', 'dns')] },
    look: /-h w1b .*SELECT 1/,
    misses: 'one of which nothing may be seen',
    near: { nodes: [standby('w1b', 1, null, { readsStatistics: false })] },
  },
  {
    id: 'H041',
    name: 'the primary is silent, and its standby streams from nowhere',
    finds: { nodes: [silent('w1a'), standby('w1b', 1, null)] },
    look: /-h w1a .*promote a standby, and: citus-ha reconcile --group 1 --promoted/,
    misses: 'its standby streams from it nevertheless',
    near: { nodes: [silent('w1a')] },
  },
  {
    id: 'H042',
    name: 'one of two standbys does not stream',
    finds: {
      ...withRows(secondaryRow(6, 1, { at: 'w1c' })),
      nodes: [...(withRows(secondaryRow(6, 1, { at: 'w1c' })).nodes ?? []), standby('w1c', 1, null)],
    },
    look: /psql -h w1c/,
    misses: 'the only one does not',
    near: { nodes: [standby('w1b', 1, null)] },
  },
  {
    id: 'H043',
    name: 'a candidate that does not answer',
    finds: { nodes: [silent('cn2')], facts: { seeds: [address('cn1'), address('cn2')] } },
    look: /psql -h cn2/,
    misses: 'somebody whom nobody named',
    near: { nodes: [silent('cn2')] },
  },
  {
    id: 'H044',
    name: 'a group of one',
    finds: { nodes: [cn({ catalog: TWO_WORKERS.filter((row) => row.nodeid !== 3) }), silent('w1b')] },
    mend: /^pg_basebackup -h w1a /,
    misses: 'a standby that is in no row',
    near: { nodes: [cn({ catalog: TWO_WORKERS.filter((row) => row.nodeid !== 3) })] },
  },
  {
    id: 'H045',
    name: 'a standby far behind',
    finds: { nodes: [writable('w1a', 1, { lsn: 5000n })] },
    look: /replay_lag/,
    misses: 'one just behind enough',
    near: { nodes: [writable('w1a', 1, { lsn: 1000n })] },
  },
  {
    id: 'H050',
    name: 'a pause',
    finds: {
      nodes: [
        cn({
          installed: installed({
            lineage: KNOWN_LINES,
            pauses: [{ group: 1, since: '2026-01-01T00:00:00.000Z', by: 'ann', why: null }],
          }),
        }),
      ],
    },
    mend: /citus-ha resume --group 1/,
    misses: 'none',
    near: {},
  },
]

export const NAMES: readonly Ailment[] = [
  {
    id: 'H060',
    name: 'the coordinator registered as localhost',
    finds: withRows(primaryRow(1, 0, { at: 'localhost' })),
    mend: /citus_set_coordinator_host\('NAME', 5432\)/,
    misses: 'all of them on one machine',
    near: {
      nodes: [
        cn({ catalog: [primaryRow(1, 0, { at: 'localhost:1' }), primaryRow(2, 1, { at: '127.0.0.1:2' })] }),
      ],
    },
  },
  {
    id: 'H060',
    name: 'a name of this machine, beside one of the network',
    finds: {
      nodes: [cn({ catalog: [primaryRow(1, 0, { at: '127.0.0.1' }), primaryRow(2, 1, { at: 'w1a' })] })],
    },
    mend: /citus_set_coordinator_host\('NAME', 5432\)/,
    misses: 'the name that a remedy has lent to a row, all of them on one machine',
    near: {
      nodes: [
        cn({
          catalog: [
            primaryRow(2, 1, { at: '127.0.0.1' }),
            secondaryRow(6, 1, { at: '[::ffff:127.0.0.1]:5432' }),
          ],
          installed: installed({
            lineage: KNOWN_LINES,
            remedies: [
              {
                nodeid: 6,
                group: 1,
                address: address('127.0.0.1:5433'),
                rack: 'default',
                isactive: true,
                given: address('[::ffff:127.0.0.1]:5432'),
              },
            ],
          }),
        }),
      ],
    },
  },
  {
    id: 'H061',
    name: 'no row of group 0',
    finds: { nodes: [cn({ catalog: TWO_WORKERS.filter((row) => row.group !== 0) })] },
    mend: /citus_set_coordinator_host\('cn1', 5432\)/,
    misses: 'one',
    near: {},
  },
  {
    id: 'H062',
    name: 'a name that another node does not resolve',
    finds: reaches('w2a', 'w1b'),
    look: /getent hosts w1b/,
    misses: 'a node that we do not reach either',
    near: { ...reaches('w2a', 'w1b'), nodes: [silent('w1b')] },
  },
  {
    id: 'H063',
    name: 'a node that reaches nobody',
    finds: reaches('w2a', 'cn1', 'w1a', 'w1b', 'w2a', 'w2b'),
    mend: /psql -h w2a .*-U postgres .*pg_dist_authinfo.*PASSWORD/,
    misses: 'one that reaches itself',
    near: reaches('w2a', 'cn1', 'w1a', 'w1b', 'w2b'),
  },
  {
    id: 'H064',
    name: 'a standby that came into the file later',
    finds: { facts: { claims: { ...NO_CLAIMS, standbys: [{ group: 1, address: address('w1c') }] } } },
    mend: /citus-ha install/,
    misses: 'one that was there at the install',
    near: {
      nodes: [
        cn({
          installed: installed({
            lineage: KNOWN_LINES,
            spareAddresses: [{ group: 1, address: address('w1c') }],
          }),
        }),
      ],
      facts: { claims: { ...NO_CLAIMS, standbys: [{ group: 1, address: address('w1c') }] } },
    },
  },
]
