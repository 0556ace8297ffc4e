/**
 * Programs that stop, start and promote servers by their own judgement: how a person asks them for what citus-ha leaves to them,
 * and what they make of a server that they did not promote (each seen, with Patroni 3.0.2 and 4.1.4, pg_auto_failover 2.0).
 */
export const MANAGERS = {
  Patroni: {
    shows: 'patronictl list',
    switchesOver: 'patronictl switchover',
    otherwise: 'it stops a server that it did not promote',
  },
  pg_auto_failover: {
    shows: 'pg_autoctl show state',
    switchesOver: 'pg_autoctl perform switchover',
    otherwise: 'its monitor would continue to name the old primary',
  },
} as const

export type Manager = keyof typeof MANAGERS
