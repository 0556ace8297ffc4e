import type { Activity } from '../../src/model/activity.ts'
import { type Ailment, attached, cn, pool, withRows } from './ailment.ts'
import { address, installed, primaryRow, secondaryRow, standby, TWO_WORKERS } from './builders.ts'
import { KNOWN_LINES, look } from './examined.ts'

const SESSION = { pid: 4711, user: 'postgres', client: null, host: null, since: null }

function working(otherWriters: Activity['otherWriters']): Activity {
  return { watchers: [], leader: null, changes: [], fences: [], otherWriters }
}

export const METADATA: readonly Ailment[] = [
  {
    id: 'H070',
    name: 'a metadata worker not synced',
    finds: withRows(primaryRow(2, 1, { at: 'w1a', metadatasynced: false })),
    mend: /start_metadata_sync_to_node\('w1a', 5432\)/,
    misses: 'a worker without metadata',
    near: withRows(primaryRow(2, 1, { at: 'w1a', hasmetadata: false, metadatasynced: false })),
  },
  {
    id: 'H071',
    name: 'a copy that differs',
    finds: { facts: { copies: [{ node: address('w2a'), role: 'metadata worker', differs: true }] } },
    mend: /citus-ha reconcile/,
    misses: 'copies that are alike',
    near: {},
  },
  {
    id: 'H072',
    name: 'Patroni keeps a session for its Citus mode',
    finds: { facts: { activity: working([{ ...SESSION, program: 'Patroni' }]) } },
    look: /application_name = 'Patroni citus'/,
    misses: 'nobody else does',
    near: { facts: { activity: working([]) } },
  },
  {
    id: 'H073',
    name: 'Patroni keeps sessions on both servers of a group',
    finds: { seen: { w1a: { managers: look(['Patroni']) }, w1b: { managers: look(['Patroni']) } } },
    look: /^patronictl list/,
    misses: 'nobody does',
    near: { seen: { w1a: { managers: look([]) } } },
  },
  {
    id: 'H080',
    name: 'one more standby than is known',
    finds: attached('w1b', 'stranger'),
    mend: /citus_add_secondary_node\('STANDBY', PORT, 'w1a', 5432\)/,
    misses: 'a registered one that does not answer us',
    near: {
      ...attached('w1b', 'w1c'),
      ...withRows(secondaryRow(6, 1, { at: 'w1c' })),
    },
  },
  {
    id: 'H081',
    name: 'two names of one secondary',
    finds: {
      nodes: [
        ...(withRows(secondaryRow(6, 1, { at: 'w1b-alias' })).nodes ?? []),
        standby('w1b-alias', 1, 'w1a', { instance: 'w1b' }),
      ],
    },
    mend: /citus_remove_node\('w1b-alias', 5432\)/,
    misses: 'a remedy that lent the row',
    near: {
      nodes: [
        cn({
          catalog: [...TWO_WORKERS, secondaryRow(6, 1, { at: 'w1b-alias' })],
          installed: installed({
            lineage: KNOWN_LINES,
            remedies: [
              {
                nodeid: 6,
                group: 1,
                address: address('w1c'),
                rack: 'default',
                isactive: true,
                given: address('w1b-alias'),
              },
            ],
          }),
        }),
        standby('w1b-alias', 1, 'w1a', { instance: 'w1b' }),
      ],
    },
  },
  {
    id: 'H082',
    name: 'no secondary of group 2 in the cluster that is read',
    finds: {
      nodes: [
        standby('cnx', 0, 'cn1', {
          citus: { useSecondaryNodes: 'always', clusterName: 'reports' },
          catalog: [...TWO_WORKERS, secondaryRow(6, 1, { at: 'w1c', cluster: 'reports' })],
        }),
      ],
    },
    mend: /citus_add_secondary_node\(.*'reports'\)/,
    misses: 'every group has one',
    near: { nodes: [standby('cnx', 0, 'cn1', { citus: { useSecondaryNodes: 'always' } })] },
  },
  {
    id: 'H090',
    name: 'a pool that leads to the old primary',
    finds: pool('w1b', 6432),
    mend: /DELETE FROM pg_dist_poolinfo WHERE nodeid = 2/,
    misses: 'one on the node itself',
    near: pool('w1a', 6432),
  },
  {
    id: 'H091',
    name: 'a pool for nobody',
    finds: pool('w1a', 6432, 99),
    mend: /nodeid = 99/,
    misses: 'one that names no host',
    near: pool(null, 6432),
  },
  {
    id: 'H092',
    name: 'a pool on a host of its own',
    finds: pool('pooler', 6432),
    look: /nodeid = 2/,
    misses: 'one on the node itself',
    near: pool('w1a', null),
  },
]
