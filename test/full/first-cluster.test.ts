import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Account, serverAccount } from '../../src/demo/account.ts'
import { type Binaries, findBinaries } from '../../src/demo/binaries.ts'
import { PortPool } from '../../src/demo/ports.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { type Block, markedBlocks, programs, type Ran, runBlock } from '../support/machines.ts'

const exec = promisify(execFile)
const MACHINES = ['cn1', 'cn2', 'w1a', 'w1b', 'w2a', 'w2b'] as const
type Machine = (typeof MACHINES)[number]

/** Where Debian's own is not at hand: the actions that the page uses, with configuration and data in places of their own. */
const PG_CTLCLUSTER = `
unset \${!PG@}
case "$3" in
start) set -- start -l "$HOME/log" -o "-c config_file=$HOME/etc/15/main/postgresql.conf" ;;
restart) set -- restart -m fast -l "$HOME/log" ;;
*) set -- stop -m fast "\${@:4}" ;;
esac
exec pg_ctl "$@" -w -D "$HOME/data"`

/** What `pg_createcluster` does. */
const INITDB = `
mkdir -p "$HOME/etc/15/main/conf.d"
initdb -D "$HOME/data" -U postgres -A trust --no-sync
for file in postgresql pg_hba pg_ident; do mv "$HOME/data/$file.conf" "$HOME/etc/15/main/"; done`

/** As the unit starts and stops it: \`enable --now\`, \`disable --now\`. */
const systemctl = (directory: string) => `
pid=${directory}/watch.pid
case "$1" in
enable) PGPASSFILE=${directory}/credstore/citus-ha.pgpass setsid citus-ha watch --config ${directory}/citus-ha/citus-ha.yaml \\
  < /dev/null > ${directory}/watch.log 2>&1 & echo $! > $pid ;;
disable) kill "$(cat $pid)"; while kill -0 "$(cat $pid)" 2> /dev/null; do :; done; rm $pid ;;
*) exit 1 ;;
esac`

const binaries: Binaries = await findBinaries()
/** What Debian's programs run: then they make, start and stop the servers, and PostgreSQL's own are not in the PATH. */
const isDebians =
  binaries.bindir === `/usr/lib/postgresql/${binaries.major}/bin` &&
  existsSync('/usr/bin/pg_createcluster') &&
  (await serverAccount()) !== null
const why = binaries.citus === null ? 'needs Citus' : binaries.major < 15 ? 'needs PostgreSQL 15' : null

describe.skipIf(why !== null)('docs/first-cluster.md', () => {
  let directory: string
  let account: Account | null
  let bin: string
  const pool = new PortPool()
  const ports = new Map<Machine, number>()
  const home = (machine: string) => join(directory, machine)
  const version = isDebians ? `${binaries.major}` : '15'
  const portOf = (machine: Machine): number => ports.get(machine) ?? 0

  /** Of a machine, or of the one that runs citus-ha. */
  function environment(machine: Machine | 'ha'): NodeJS.ProcessEnv {
    const own = {
      PATH: [bin, ...(isDebians ? [] : [binaries.bindir]), process.env.PATH].join(':'),
      LC_ALL: 'C.UTF-8',
      HOME: home(machine),
      PG_CLUSTER_CONF_ROOT: join(home(machine), 'etc'),
    }
    return machine === 'ha'
      ? { ...own, CITUS_HA_CONFIG: join(directory, 'citus-ha/citus-ha.yaml') }
      : { ...own, PGHOST: home(machine), PGPORT: `${portOf(machine)}`, PGUSER: 'postgres' }
  }

  /** What Debian's package leaves: a server that nobody but its own machine reaches. */
  async function makeMachine(machine: Machine): Promise<void> {
    ports.set(machine, await pool.take())
    await mkdir(home(machine))
    if (account) await exec('chown', [`${account.uid}:${account.gid}`, home(machine)])
    const create = `pg_createcluster ${version} main -d "$HOME/data" -p ${portOf(machine)} -s "$HOME" -l "$HOME/log" -- --no-sync`
    const made = await runBlock(isDebians ? create : INITDB, { account, env: environment(machine) })
    expect(made.exitCode, made.output).toBe(0)
    const etc = join(home(machine), 'etc', version, 'main')
    const settings = {
      ...(!isDebians && {
        data_directory: join(home(machine), 'data'),
        hba_file: join(etc, 'pg_hba.conf'),
        port: `${portOf(machine)}`,
        unix_socket_directories: home(machine),
      }),
      // Debian's would be the same file for each of these.
      external_pid_file: join(home(machine), 'pid'),
      ssl: 'off',
      shared_buffers: '16MB',
      dynamic_shared_memory_type: 'mmap',
      fsync: 'off',
    }
    const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value}'\n`)
    const set = [...lines, `include_dir 'conf.d'\n`].join('')
    // Debian's pg_ctlcluster empties the environment; the account's own home has no password of these.
    const start = `echo "HOME = '$HOME'" >> "${etc}/environment"
cat >> "${etc}/postgresql.conf" <<'EOF'
${set}EOF
pg_ctlcluster 15 main start`
    const started = await runBlock(forHere(start, machine), { account, env: environment(machine) })
    expect(started.exitCode, started.output).toBe(0)
  }

  beforeAll(async () => {
    account = await serverAccount()
    directory = await mkdtemp(join(tmpdir(), 'citus-ha-first-'))
    bin = await programs(directory, {
      systemctl: systemctl(directory),
      ...(!isDebians && { pg_ctlcluster: PG_CTLCLUSTER }),
    })
    for (const name of ['citus-ha', 'ha']) await mkdir(join(directory, name))
    if (account) await exec('chown', ['-R', `${account.uid}:${account.gid}`, directory])
    for (const machine of MACHINES) await makeMachine(machine)
  }, 180_000)

  afterAll(async () => {
    const pid = Number(await readFile(join(directory, 'watch.pid'), 'utf8').catch(() => '0'))
    if (pid > 0) process.kill(pid)
    for (const machine of MACHINES)
      await runBlock(`${binaries.bindir}/pg_ctl stop -m immediate -D "$HOME/data" || true`, {
        account,
        env: environment(machine),
      })
    pool.release()
    await rm(directory, { recursive: true, force: true })
  }, 60_000)

  /** As it stands on the page, with this machine's addresses and directories. */
  function forHere(text: string, machine: Machine | 'ha'): string {
    const named = MACHINES.reduce(
      (changed, name) =>
        changed
          .replaceAll(`${name}.example:5432`, `127.0.0.1:${portOf(name)}`)
          .replaceAll(`-h ${name}.example`, `-h 127.0.0.1 -p ${portOf(name)}`)
          .replaceAll(`host=${name}.example port=5432`, `host=127.0.0.1 port=${portOf(name)}`)
          .replaceAll(`'${name}.example', 5432`, `'127.0.0.1', ${portOf(name)}`),
      text,
    )
    const here = named
      .replaceAll('/etc/postgresql/15/main', join(home(machine), 'etc', version, 'main'))
      .replaceAll('/usr/lib/postgresql/15/bin', binaries.bindir)
      .replaceAll('pg_ctlcluster 15 ', `pg_ctlcluster ${version} `)
      .replaceAll('/var/lib/postgresql/15/main', join(home(machine), 'data'))
      .replaceAll('/etc/citus-ha', join(directory, 'citus-ha'))
      .replaceAll('/etc/credstore', join(directory, 'credstore'))
      .replaceAll('10.0.0.0/24', '127.0.0.1/32')
      .replaceAll(`listen_addresses = '*'`, `listen_addresses = '127.0.0.1'`)
    expect(here).not.toMatch(/\.example|\/etc\/postgresql|\b5432\b/)
    return here
  }

  const at = (text: string, machine: Machine | 'ha'): Promise<Ran> =>
    runBlock(forHere(text, machine), { account, env: environment(machine) })

  const ask = async (machine: Machine, sql: string): Promise<string> =>
    (await at(`psql -XAt -d app -c "${sql}"`, machine)).output.trim()

  /** What has to be so before a block is run: what the page says happens by itself. */
  const UNTIL: Readonly<Record<string, () => Promise<boolean>>> = {
    followed: async () => {
      const sql = "SELECT nodeport FROM pg_dist_node WHERE groupid = 1 AND noderole = 'primary'"
      const rows = await Promise.all((['cn1', 'cn2', 'w1b', 'w2a'] as const).map((name) => ask(name, sql)))
      return rows.every((row) => row === `${portOf('w1b')}`)
    },
    rejoined: async () => {
      const sql =
        "SELECT nodeport FROM pg_dist_node WHERE groupid = 1 AND noderole = 'secondary' AND isactive"
      return (await ask('cn1', sql)) === `${portOf('w1a')}`
    },
  }

  /** Where it is run: `w1b:w1a` is w1b, and reads w1a for the page's cn1. */
  async function runMarked({ text, marks: [, ...places] }: Block): Promise<string> {
    const outputs: string[] = []
    for (const place of places) {
      const until = UNTIL[place]
      if (until) await waitUntil(place, until, { limitMs: 30_000 })
    }
    for (const place of places.filter((each) => UNTIL[each] === undefined)) {
      const [machine = '', upstream] = place.split(':')
      const own = upstream === undefined ? text : text.replaceAll('cn1.example', `${upstream}.example`)
      const ran = await at(own, machine as Machine | 'ha')
      expect(ran.exitCode, `on ${place}:\n${own}\n${ran.output}`).toBe(0)
      outputs.push(ran.output)
    }
    return outputs.join('')
  }

  const SHOWN: Readonly<Record<string, RegExp>> = {
    '6. Install': /role citus_ha created/,
    '7. Check what would make a failover fail':
      /no problem found that would make the next failover fail[\s\S]*all 3 groups are healthy/,
    '9. A failover':
      /[\s\S]*1000[\s\S]*all 3 groups are healthy[\s\S]*no problem found that would make the next failover fail/,
    '10. Uninstall': /role citus_ha removed/,
  }

  it('is a protected cluster after its ten steps, and a plain one after the last', {
    timeout: 300_000,
  }, async () => {
    const blocks = await markedBlocks('first-cluster.md')
    const headings = [...new Set(blocks.map(({ heading }) => heading))]
    expect(headings.map((heading) => Number.parseInt(heading, 10))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    for (const heading of headings) {
      const outputs: string[] = []
      for (const block of blocks.filter((each) => each.heading === heading))
        outputs.push(await runMarked(block))
      const shown = SHOWN[heading]
      if (shown) expect(outputs.join(''), heading).toMatch(shown)
    }
    for (const machine of ['cn1', 'w1b', 'w2a'] as const) {
      const left = "SELECT count(*) FROM pg_namespace WHERE nspname = 'citus_ha'"
      expect(await ask(machine, left)).toBe('0')
      expect(await ask(machine, "SELECT count(*) FROM items WHERE note = 'after the failover'")).toBe('1000')
    }
  })
})
