import { execFile, execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BareRoot } from '../support/bare-root.ts'

const exec = promisify(execFile)
const BUILD = new URL('../../deploy/debian/build', import.meta.url).pathname
const LIMIT_MS = 300_000

function has(program: string): boolean {
  try {
    execFileSync('which', [program], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const root = has('dpkg-deb') ? await BareRoot.make() : 'no dpkg-deb'
if (typeof root === 'string') process.stdout.write(`the Debian package: skipped, ${root}\n`)

describe.skipIf(typeof root === 'string')('the Debian package', () => {
  let directory: string
  const packages: string[] = []

  const inRoot = (): BareRoot => {
    if (typeof root === 'string') throw new Error(root)
    return root
  }
  /** @returns what it said; it has to end well */
  const run = async (command: string): Promise<string> => {
    const { exitCode, output } = await inRoot().run(command, LIMIT_MS)
    expect(exitCode, `${command}\n${output}`).toBe(0)
    return output.trim()
  }
  const dpkg = (args: string) => run(`DEBIAN_FRONTEND=noninteractive dpkg ${args}`)

  async function build(revision: string): Promise<string> {
    const env = {
      ...process.env,
      DEB_REVISION: revision,
      DEB_MAINTAINER: 'Somebody <somebody@packages.debian.org>',
    }
    const { stdout } = await exec('bash', [BUILD, directory], { env })
    return stdout.trim()
  }

  /** This machine's Node is in the root as a file; dpkg has to know of it. */
  async function nodejs(): Promise<string> {
    const stage = join(directory, 'nodejs')
    await mkdir(join(stage, 'DEBIAN'), { recursive: true })
    const fields = { Package: 'nodejs', Version: process.versions.node, Architecture: 'all' }
    const about = { Maintainer: 'Somebody <somebody@packages.debian.org>', Description: 'stands for Node' }
    const control = Object.entries({ ...fields, ...about }).map(([name, value]) => `${name}: ${value}\n`)
    await writeFile(join(stage, 'DEBIAN/control'), control.join(''))
    await exec('dpkg-deb', ['--build', stage, join(directory, 'nodejs.deb')])
    return join(directory, 'nodejs.deb')
  }

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'citus-ha-deb-'))
    packages.push(await build('1'), await build('2'))
    for (const file of [...packages, await nodejs()]) await inRoot().put(file, `/root/${basename(file)}`)
  }, LIMIT_MS)

  afterAll(async () => {
    if (typeof root !== 'string') await root.remove()
    if (directory) await rm(directory, { recursive: true, force: true })
  }, 60_000)

  const deb = (n: number) => `/root/${basename(packages[n] ?? '')}`

  it(
    'has nothing that lintian calls an error',
    async ({ skip }) => {
      if (!has('lintian')) return skip('no lintian here')
      const [first = ''] = packages
      const said = await exec('lintian', ['--allow-root', '--fail-on', 'error', first]).then(
        ({ stdout }) => stdout,
        ({ stdout, stderr }) => `${stdout}${stderr}`,
      )
      expect(said.split('\n').filter((line) => line.startsWith('E:'))).toEqual([])
    },
    LIMIT_MS,
  )

  it(
    'is the same file when it is built again',
    async () => {
      const again = await mkdtemp(join(tmpdir(), 'citus-ha-deb-again-'))
      try {
        const [first = ''] = packages
        const env = { ...process.env, DEB_MAINTAINER: 'Somebody <somebody@packages.debian.org>' }
        const { stdout } = await exec('bash', [BUILD, again], { env })
        await exec('cmp', [first, stdout.trim()])
      } finally {
        await rm(again, { recursive: true, force: true })
      }
    },
    LIMIT_MS,
  )

  it(
    'wants a Node that is new enough',
    async () => {
      const { exitCode, output } = await inRoot().run(`dpkg -i ${deb(0)}`, LIMIT_MS)
      expect(exitCode).not.toBe(0)
      expect(output).toMatch(/nodejs \(>= 20/)
      await run('dpkg --purge citus-ha')
    },
    LIMIT_MS,
  )

  it(
    'installs the command, the user, the service and a file that this user alone may read',
    async () => {
      await dpkg(`-i /root/nodejs.deb ${deb(0)}`)
      expect(await run('citus-ha --version')).toMatch(/^\d+\.\d+\.\d+/)
      expect(await run('citus-ha rules')).toMatch(/promoted/)
      expect(await run('citus-ha explain D041')).toContain(
        '/usr/share/doc/citus-ha/docs/runbooks.md#split-brain',
      )
      expect(await run("stat -c '%U:%G %a' /etc/citus-ha/citus-ha.yaml")).toBe('root:citus-ha 640')
      expect(await run('getent passwd citus-ha')).toMatch(/:\/nonexistent:\/usr\/sbin\/nologin$/)
      await run('test -f /lib/systemd/system/citus-ha-watch.service')
      await run('zcat /usr/share/man/man1/citus-ha-status.1.gz /usr/share/man/man5/citus-ha.yaml.5.gz')
      const pages = await run('ls /usr/share/doc/citus-ha/docs')
      for (const page of ['alerts.md', 'control.md', 'http.md', 'reference']) expect(pages).toContain(page)
    },
    LIMIT_MS,
  )

  it(
    'its configuration is a template: nothing starts before somebody has named a coordinator',
    async () => {
      const file = '/etc/citus-ha/citus-ha.yaml'
      const asUser = 'setpriv --reuid citus-ha --regid citus-ha --clear-groups env HOME=/nonexistent'
      const { exitCode, output } = await inRoot().run(`${asUser} citus-ha watch --once --config ${file}`)
      expect(exitCode, output).toBe(2)
      expect(output).toMatch(/coordinator/)
      // What it proposes is taken as it stands.
      await run(`sed 's/^#coordinators:/coordinators:/; s/^  #- url:/  - url:/' ${file} > /tmp/taken.yaml`)
      await run('citus-ha config check /tmp/taken.yaml')
      await run(`test -f $(sed -n '1s/.*schema=//p' ${file})`)
      const tried = await inRoot().run(`citus-ha status --config /tmp/taken.yaml`, LIMIT_MS)
      expect(tried.exitCode, tried.output).toBe(4)
      expect(tried.output).toMatch(/cn1\.example/)
    },
    LIMIT_MS,
  )

  it(
    'the service has all that it needs: it logs, listens, answers Prometheus, and ends',
    async () => {
      const config =
        'coordinators: [{ url: "postgres://citus_ha@127.0.0.1:1/app" }]\\nhttp: { listen: "127.0.0.1:18008" }'
      await run(`printf '${config}\\n' > /tmp/watch.yaml`)
      const ask = `node -e 'const go = async () => { for (;;) { const text = await fetch("http://127.0.0.1:18008/metrics").then((a) => a.text(), () => ""); if (text) return console.log(text); await new Promise((r) => setTimeout(r, 50)) } }; go()'`
      const user = 'setpriv --reuid citus-ha --regid citus-ha --clear-groups env HOME=/nonexistent'
      const said = await run(`
${user} citus-ha watch --config /tmp/watch.yaml & watch=$!
timeout 60 ${ask} && kill $watch && wait $watch; echo "ended with $?"`)
      expect(said).toMatch(/^citus_ha_build_info\{version="/m)
      expect(said).toMatch(/^process_resident_memory_bytes \d/m)
      expect(said).toMatch(/^\{"level":\d+/m)
    },
    LIMIT_MS,
  )

  it(
    'an upgrade keeps the configuration; removal keeps it too, and purging leaves nothing',
    async () => {
      await run(
        `echo 'coordinators: [{ url: "postgres://citus_ha@mine/app" }]' > /etc/citus-ha/citus-ha.yaml`,
      )
      await dpkg(`-i ${deb(1)}`)
      expect(await run('dpkg-query --show citus-ha')).toMatch(/-2$/)
      expect(await run('cat /etc/citus-ha/citus-ha.yaml')).toMatch(/@mine\/app/)
      expect(await run("stat -c '%U:%G %a' /etc/citus-ha/citus-ha.yaml")).toBe('root:citus-ha 640')
      await dpkg('-r citus-ha')
      await run(
        'test -f /etc/citus-ha/citus-ha.yaml && ! test -e /usr/bin/citus-ha && ! test -e /usr/lib/citus-ha',
      )
      await dpkg('--purge citus-ha')
      await run('! test -e /etc/citus-ha && ! getent passwd citus-ha && ! test -e /usr/share/doc/citus-ha')
    },
    LIMIT_MS,
  )
})
