import { createColors } from 'picocolors'
import { describe, expect, test } from 'vitest'
import { inAscii } from '../../src/cli/locale.ts'
import { type Look, renderStatus } from '../../src/cli/render-status.ts'
import { widthOf } from '../../src/cli/table.ts'
import type { Activity } from '../../src/model/activity.ts'
import type { Answered, Observation } from '../../src/model/observation.ts'
import { statusOf } from '../../src/walk/status.ts'
import {
  installed,
  lineage,
  primaryRow,
  secondaryRow,
  silent,
  standby,
  surveyOf,
  testimony,
  writable,
} from '../support/builders.ts'
import { SOUND, viewOf } from '../support/watch-state.ts'

const PLAIN: Look = { form: 'table', colors: createColors(false), width: null, height: null }
const SMALL: Look = { ...PLAIN, width: 80, height: 24 }

const LEADER = {
  pid: 4711,
  user: 'citus_ha',
  client: '10.0.0.9',
  host: 'cn1.example',
  since: '2026-01-01T00:00:00.000Z',
}
const OTHER = { ...LEADER, pid: 4712, host: 'cn2.example' }
const WATCHED: Activity = {
  watchers: [LEADER, OTHER],
  leader: LEADER,
  changes: [],
  fences: [],
  otherWriters: [],
}

const GROUPS = Array.from({ length: 24 }, (_, n) => n + 1)
const NAME = (group: number, member: string) => `pg-worker-${group}-${member}.prod.eu-west-1.internal`
const COORDINATOR = 'pg-coordinator-a.prod.eu-west-1.internal'

/** 24 workers with a standby each, under names as people have them. */
function fleet(parts: { readonly instead?: readonly Observation[] } = {}) {
  const catalog = [
    primaryRow(1, 0, { at: COORDINATOR, hasmetadata: true }),
    ...GROUPS.flatMap((group) => [
      primaryRow(2 * group, group, { at: NAME(group, 'a') }),
      secondaryRow(2 * group + 1, group, { at: NAME(group, 'b') }),
    ]),
  ]
  const known = installed({ lineage: [0, ...GROUPS].map((group) => lineage(group)) })
  const nodes = [
    writable(COORDINATOR, 0, { catalog, installed: known }),
    ...GROUPS.flatMap((group): Answered[] => [
      writable(NAME(group, 'a'), group, { catalog, lsn: 5000n }),
      standby(NAME(group, 'b'), group, NAME(group, 'a'), { catalog, lsn: 5000n - BigInt(group * 100) }),
    ]),
  ]
  return viewOf(surveyOf([...nodes, ...(parts.instead ?? [])]))
}

const dead = [silent('w1a'), standby('w1b', 1, null)]
const DOWN = viewOf(
  surveyOf(
    [...SOUND, ...dead],
    [testimony('cn1', 'w1a', 'down'), testimony('w1b', 'w1a', 'down'), testimony('w2a', 'w1a', 'down')],
  ),
)

const read = (activity: Activity) => ({ activity, unread: null })

describe('status, as text', () => {
  test('who watches could not be read', () => {
    const status = statusOf(viewOf(), { activity: null, unread: 'no answer within 2000 ms' })
    expect(renderStatus(status, PLAIN)).toContain(
      '\nwatchers, changes and fences could not be read: no answer within 2000 ms\n',
    )
  })

  test('a healthy cluster', () => {
    expect(renderStatus(statusOf(viewOf(), read(WATCHED)), PLAIN)).toMatchInlineSnapshot(`
      "app  coordinator cn1:5432  13.2-2
      watchers 2, leader cn1.example (backend 4711) since 2026-01-01T00:00:00Z
      all 3 groups are healthy (citus-ha doctor checks more)
      GROUP  STATE    ROLE       NODE      SERVER     TL    LAG  ROUTES
      0      healthy  primary    cn1:5432  writable    1         ok
      1      healthy  primary    w1a:5432  writable    1         ok
                      secondary  w1b:5432  streaming   1  100 B
      2      healthy  primary    w2a:5432  writable    1         ok
                      secondary  w2b:5432  streaming   1    0 B
      "
    `)
  })

  test('a primary is down: what is wrong, and what to do', () => {
    expect(
      renderStatus(statusOf(DOWN, read({ ...WATCHED, watchers: [], leader: null })), PLAIN),
    ).toMatchInlineSnapshot(`
      "app  coordinator cn1:5432  13.2-2
      no watcher runs (citus-ha watch)
      1 of 3 groups needs attention
      GROUP  STATE         ROLE       NODE      SERVER                  TL  LAG  ROUTES
      0      healthy       primary    cn1:5432  writable                 1       ok
      1      primary-down  primary    w1a:5432  unreachable (refused)            reads, writes fail
                           secondary  w1b:5432  standby, not streaming   1
      2      healthy       primary    w2a:5432  writable                 1       ok
                           secondary  w2b:5432  streaming                1  0 B
      ! group 1: primary-down (D071): w1a:5432 is down, and no other server of its group known to citus-ha takes writes
        next: pg_ctl start -D DATA_DIRECTORY -o "-c config_file=CONFIG_FILE"   # on w1a:5432; or promote a standby (pg_promote(), your HA tool), then: citus-ha reconcile --group 1; if what was promoted has no row: citus-ha reconcile --group 1 --promoted HOST:PORT
      ! group 1: secondary w1b:5432 is standby, not streaming
      "
    `)
  })

  test('the same of several servers is one line, by group', () => {
    const unusable = { lsn: 9000n, installed: installed({ mayExecute: false }) }
    const view = viewOf(
      surveyOf([
        ...SOUND.filter(({ inRecovery, address }) => inRecovery || address.host === 'cn1'),
        writable('w2a', 2, unusable),
        writable('w1a', 1, unusable),
      ]),
    )
    const lines = renderStatus(statusOf(view), PLAIN)
      .split('\n')
      .filter((line) => /^!|^ {2}next/.test(line))
    expect(lines).toEqual([
      '! groups 1, 2: w1a:5432, w2a:5432: the schema citus_ha may not be used by this role; left out of all changes (H140)',
      expect.stringMatching(/^ {2}next: citus-ha install/),
    ])
  })

  test('a promotion that is not written down yet', () => {
    const view = viewOf(
      surveyOf(
        [
          ...SOUND,
          silent('w1a'),
          writable('w1b', 1, { timeline: 2, history: [{ timeline: 1, lsn: '0/1388' }], lsn: 5100n }),
        ],
        [testimony('cn1', 'w1a', 'down'), testimony('w2a', 'w1a', 'down')],
      ),
    )
    expect(renderStatus(statusOf(view, read(WATCHED)), PLAIN)).toMatchInlineSnapshot(`
      "app  coordinator cn1:5432  13.2-2
      watchers 2, leader cn1.example (backend 4711) since 2026-01-01T00:00:00Z
      1 of 3 groups needs attention
      GROUP  STATE     ROLE       NODE      SERVER                 TL  LAG  ROUTES
      0      healthy   primary    cn1:5432  writable                1       ok
      1      promoted  primary    w1a:5432  unreachable (refused)           reads, writes fail
                       secondary  w1b:5432  writable                2
      2      healthy   primary    w2a:5432  writable                1       ok
                       secondary  w2b:5432  streaming               1  0 B
      ! group 1: promoted (D063): w1b:5432 was promoted; w1a:5432 is down
        next: citus-ha reconcile --group 1
      ! pg_dist_node is out of date on at least one node: citus-ha reconcile would change it
        next: citus-ha reconcile
      reconcile would do:
        group 1, node 2: w1a:5432 -> w1b:5432  (primary-moved: w1b:5432 was promoted; w1a:5432 is down)
        group 1, node 3: w1b:5432 -> W1B:5432  (remedy: down: its reads go to the primary: W1B:5432 is a second name of w1b:5432, since no two rows of pg_dist_node may have one address)
        cn1:5432 (coordinator): node 3: w1b:5432 -> W1B:5432; node 2: w1a:5432 -> w1b:5432; node 2: noderack north -> south
        w1b:5432 (promoted): node 3: w1b:5432 -> W1B:5432; node 2: w1a:5432 -> w1b:5432; node 2: noderack north -> south
        w2a:5432 (metadata worker): node 3: w1b:5432 -> W1B:5432; node 2: w1a:5432 -> w1b:5432; node 2: noderack north -> south
      "
    `)
  })

  test('an old primary that a switchover left behind: one line', () => {
    const old = writable('w1b', 1, { retired: true, readOnly: true })
    expect(
      renderStatus(statusOf({ ...viewOf(surveyOf([...SOUND, old])), groups: [1] }), PLAIN),
    ).toMatchInlineSnapshot(`
      "app  coordinator cn1:5432  13.2-2
      the group works; another problem is listed below
      GROUP  STATE    ROLE       NODE      SERVER    TL  LAG  ROUTES
      1      healthy  primary    w1a:5432  writable   1       ok
                      secondary  w1b:5432  retired    1
      ! pg_dist_node is out of date on at least one node: citus-ha reconcile would change it
        next: citus-ha reconcile
      ! group 1: w1b:5432, an old primary, is still running (read-only). To make it a standby, run there: pg_ctl stop -m fast -D DATA_DIRECTORY && psql -h w1a -p 5432 -d app -U postgres -c CHECKPOINT && pg_rewind -D DATA_DIRECTORY -R --source-server="host=w1a port=5432 dbname=app" && pg_ctl start -D DATA_DIRECTORY -o "-c config_file=CONFIG_FILE"   # or rebuild it by pg_basebackup
      reconcile would do:
        group 1, node 3: w1b:5432 -> W1A:5432  (remedy: down: its reads go to the primary: W1A:5432 is a second name of w1a:5432, since no two rows of pg_dist_node may have one address)
        cn1:5432 (coordinator): node 3: w1b:5432 -> W1A:5432; node 3: noderack south -> north
        w1a:5432 (metadata worker): node 3: w1b:5432 -> W1A:5432; node 3: noderack south -> north
        w2a:5432 (metadata worker): node 3: w1b:5432 -> W1A:5432; node 3: noderack south -> north
      "
    `)
  })

  test('one group of several is asked for', () => {
    const view = { ...DOWN, groups: [2] }
    expect(renderStatus(statusOf(view), PLAIN)).toMatchInlineSnapshot(`
      "app  coordinator cn1:5432  13.2-2
      the group is healthy (citus-ha doctor checks more)
      GROUP  STATE    ROLE       NODE      SERVER     TL  LAG  ROUTES
      2      healthy  primary    w2a:5432  writable    1       ok
                      secondary  w2b:5432  streaming   1  0 B
      "
    `)
  })

  test('a fence, a change, a pause; a role that does not see who else is there', () => {
    const paused = [{ group: null, since: '2026-01-01T00:00:00.000Z', by: 'ann', why: 'disks' }]
    const nodes = [
      ...SOUND,
      writable('cn1', 0, {
        installed: installed({ lineage: [0, 1, 2].map((g) => lineage(g)), pauses: paused }),
      }),
    ]
    const activity: Activity = {
      watchers: null,
      leader: { ...LEADER, host: null, since: null },
      changes: [{ ...OTHER, host: null, client: null }],
      fences: [{ ...OTHER, groups: [1] }],
      otherWriters: [{ ...OTHER, host: null, client: '10.0.0.8', program: 'Patroni' }],
    }
    expect(renderStatus(statusOf(viewOf(surveyOf(nodes)), read(activity)), PLAIN)).toMatchInlineSnapshot(`
      "app  coordinator cn1:5432  13.2-2
      watchers: number hidden (the role lacks pg_read_all_stats), leader 10.0.0.9 (backend 4711)
      a change is running: a local client (backend 4712) since 2026-01-01T00:00:00Z
      fence: writes of group 1 are held by cn2.example (backend 4712) since 2026-01-01T00:00:00Z
      Patroni writes pg_dist_node as well: 10.0.0.8 (backend 4712)
      paused: the cluster since 2026-01-01T00:00:00.000Z by ann: disks
      all 3 groups are healthy (citus-ha doctor checks more)
      GROUP  STATE            ROLE       NODE      SERVER     TL    LAG  ROUTES
      0      healthy, paused  primary    cn1:5432  writable    1         ok
      1      healthy, paused  primary    w1a:5432  writable    1         ok
                              secondary  w1b:5432  streaming   1  100 B
      2      healthy, paused  primary    w2a:5432  writable    1         ok
                              secondary  w2b:5432  streaming   1    0 B
      "
    `)
  })

  test('24 groups with real names on a terminal of 80 columns: one and a half screens', () => {
    const instead = [silent(NAME(13, 'b'), 'timeout')]
    const text = renderStatus(statusOf(fleet({ instead }), read(WATCHED)), SMALL)
    const lines = text.trimEnd().split('\n')
    expect(lines.length).toBeLessThanOrEqual(36)
    for (const line of lines.filter((each) => !each.startsWith('  next: ')))
      expect(widthOf(line), line).toBeLessThanOrEqual(80)
    expect(text).toMatchInlineSnapshot(`
      "app  coordinator pg-coordinator-a.prod.eu-west-1.internal:5432  13.2-2
      watchers 2, leader cn1.example (backend 4711) since 2026-01-01T00:00:00Z
      1 of 25 groups needs attention
      GROUP  STATE      ROLE        NODE              SERVER        TL     LAG  ROUTES
      0      healthy    primary     pg-coordinator-a  writable       1          ok
      1      healthy    primary +1  pg-worker-1-a     writable       1   100 B  ok
      2      healthy    primary +1  pg-worker-2-a     writable       1   200 B  ok
      3      healthy    primary +1  pg-worker-3-a     writable       1   300 B  ok
      4      healthy    primary +1  pg-worker-4-a     writable       1   400 B  ok
      5      healthy    primary +1  pg-worker-5-a     writable       1   500 B  ok
      6      healthy    primary +1  pg-worker-6-a     writable       1   600 B  ok
      7      healthy    primary +1  pg-worker-7-a     writable       1   700 B  ok
      8      healthy    primary +1  pg-worker-8-a     writable       1   800 B  ok
      9      healthy    primary +1  pg-worker-9-a     writable       1   900 B  ok
      10     healthy    primary +1  pg-worker-10-a    writable       1  1000 B  ok
      11     healthy    primary +1  pg-worker-11-a    writable       1  1.1 kB  ok
      12     healthy    primary +1  pg-worker-12-a    writable       1  1.2 kB  ok
      13     1 problem  primary     pg-worker-13-a    writable       1          ok
                        secondary   pg-worker-13-b    unreachable~
      14     healthy    primary +1  pg-worker-14-a    writable       1  1.4 kB  ok
      15     healthy    primary +1  pg-worker-15-a    writable       1  1.5 kB  ok
      16     healthy    primary +1  pg-worker-16-a    writable       1  1.6 kB  ok
      17     healthy    primary +1  pg-worker-17-a    writable       1  1.7 kB  ok
      18     healthy    primary +1  pg-worker-18-a    writable       1  1.8 kB  ok
      19     healthy    primary +1  pg-worker-19-a    writable       1  1.9 kB  ok
      20     healthy    primary +1  pg-worker-20-a    writable       1  2.0 kB  ok
      21     healthy    primary +1  pg-worker-21-a    writable       1  2.1 kB  ok
      22     healthy    primary +1  pg-worker-22-a    writable       1  2.1 kB  ok
      23     healthy    primary +1  pg-worker-23-a    writable       1  2.2 kB  ok
      24     healthy    primary +1  pg-worker-24-a    writable       1  2.3 kB  ok
      names of nodes end in .prod.eu-west-1.internal:5432
      +1: with one streaming secondary; LAG is the largest; -o wide shows every node
      ! group 13: secondary pg-worker-13-b.prod.eu-west-1.internal:5432 is silent
        next: psql -h pg-worker-13-b.prod.eu-west-1.internal -p 5432 -d app -U citus_ha -c "SELECT 1"
      "
    `)
  })

  test('in a pipe: a line a node, nothing is cut', () => {
    const text = renderStatus(statusOf(fleet()), PLAIN)
    expect(text).not.toMatch(/~|names of nodes end/)
    for (const group of GROUPS)
      for (const member of ['a', 'b']) expect(text).toContain(`${NAME(group, member)}:5432`)
  })

  test('wide: with kinds, upstreams and routes', () => {
    expect(
      renderStatus(statusOf({ ...viewOf(), groups: [1] }), { ...PLAIN, form: 'wide' }),
    ).toMatchInlineSnapshot(`
      "app  coordinator cn1:5432  13.2-2
      the group is healthy (citus-ha doctor checks more)
      group 1  healthy
      ├─ primary    w1a:5432  writable   timeline 1                            metadata worker
      └─ secondary  w1b:5432  streaming  timeline 1  lag 100 B  from w1a:5432  worker standby
         coordinator cn1:5432    reads w1a:5432  writes w1a:5432
         metadata worker (2)     reads w1a:5432  writes w1a:5432
      "
    `)
  })

  test('the same in ASCII', () => {
    const text = renderStatus(statusOf(viewOf()), { ...PLAIN, form: 'wide' })
    expect(inAscii(text)).toMatch(/^\|- primary {4}w1a:5432/m)
    expect(inAscii(text)).toMatch(/^`- secondary {2}w1b:5432/m)
    expect(inAscii(text)).not.toMatch(/[^\p{ASCII}]/u)
  })
})
