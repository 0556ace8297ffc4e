/**
 * What is run on a server’s own machine, as the account of PostgreSQL. CONFIG_FILE is filled in too, because Debian has
 * `postgresql.conf` outside the data directory, and there `pg_ctl start -D` alone does not find it. Whatever starts a server
 * stands behind `&&`.
 */
export const STOP_SERVER = 'pg_ctl stop -m fast -D DATA_DIRECTORY'
export const START_SERVER = 'pg_ctl start -D DATA_DIRECTORY -o "-c config_file=CONFIG_FILE"'

/** A standby has that file already; an old primary, which must not take writes, does not. */
export const START_STANDBY = `touch DATA_DIRECTORY/standby.signal && ${START_SERVER}`
