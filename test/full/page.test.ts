import { mkdir } from 'node:fs/promises'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Server } from '../../src/demo/server.ts'
import { waitUntil } from '../../src/demo/wait.ts'
import { Page as Shown } from '../../src/http/page.ts'
import { serve, type WatchListener } from '../../src/http/serve.ts'
import { formatAddress } from '../../src/model/node.ts'
import { hindrances, overflow, shows, startBrowser, whyNoBrowser } from '../support/browser.ts'
import { silent, surveyOf } from '../support/builders.ts'
import { oldKeyOf, openTransaction, standin } from '../support/clients.ts'
import { Scenario } from '../support/scenario.ts'
import { WatchProcess } from '../support/watch-process.ts'
import { stateOf, viewOf } from '../support/watch-state.ts'
import { wideCluster } from '../support/wide.ts'

const none = whyNoBrowser()
const SCHEMES = ['light', 'dark'] as const

/** Told apart from what the page itself would show: it must stay text. */
const HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'

let browser: Browser

beforeAll(async () => {
  if (none === null) browser = await startBrowser()
})
beforeEach(({ skip }) => {
  if (none !== null) skip(none)
})
afterAll(async () => {
  await browser?.close()
})

/** Everything that the page asks for, and everything that goes wrong in it. */
async function openPage(url: string): Promise<{ page: Page; asked: Set<string>; wrong: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, colorScheme: 'light' })
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  const page = await context.newPage()
  const asked = new Set<string>()
  const wrong: string[] = []
  page.on('request', (request) => asked.add(new URL(request.url()).origin))
  page.on('pageerror', ({ message }) => wrong.push(message))
  page.on('console', (line) => {
    if (line.type() === 'error' && !/ERR_|status of 503/.test(line.text())) wrong.push(line.text())
  })
  await page.goto(url)
  return { page, asked, wrong }
}

/** At 360 pixels too, and in both colour schemes. */
async function expectFitForAll(page: Page): Promise<void> {
  for (const colorScheme of SCHEMES) {
    await page.emulateMedia({ colorScheme })
    expect(await hindrances(page), colorScheme).toEqual([])
  }
  await page.emulateMedia({ colorScheme: 'light' })
  await page.setViewportSize({ width: 360, height: 740 })
  expect(await overflow(page)).toBe(0)
  await page.setViewportSize({ width: 1360, height: 900 })
}

describe('what a person sees of a real cluster', { timeout: 120_000 }, () => {
  let scenario: Scenario
  let watcher: WatchProcess
  let url: string
  let page: Page
  let asked: Set<string>
  let wrong: string[]
  const server = (name: string): Server => scenario.cluster.server(name)
  const at = (name: string): string => formatAddress(server(name))

  async function watch(listen: string): Promise<void> {
    const detect = { interval: '300ms', timeout: '600ms', cooldown: '0s', witnessFreshness: '700ms' }
    const file = await scenario.configFile({ detect })
    watcher = WatchProcess.start([...scenario.options, '--config', file, '--http', listen, '--page'])
    const { msg } = await watcher.says('with the page at /')
    url = `${/http:\S+?(?=,)/.exec(msg)?.[0]}/`
  }

  const group = (n: number, text: string | RegExp) => shows(page, 'article', `Group ${n}`, text)
  const story = (text: string | RegExp) => shows(page, 'region', /^Group \d/, text)

  beforeAll(async () => {
    if (none !== null) return
    scenario = await Scenario.start({ coordinatorStandbys: [{ kind: 'standby' }, { kind: 'expand' }] })
    await watch('127.0.0.1:0')
    ;({ page, asked, wrong } = await openPage(url))
  })
  afterAll(async () => {
    await watcher?.stop()
    await scenario?.stop()
  })

  it('that is well: who is what, who follows whom, who reads and writes where', async () => {
    await shows(page, 'region', 'Summary', 'All is well')
    await shows(page, 'banner', '', 'Live')
    await shows(page, 'banner', '', 'this watcher leads')
    expect(await page.title()).toBe(`${scenario.cluster.database}: All is well`)
    await shows(page, 'article', 'Coordinators', at('coordinator'))
    await shows(page, 'article', 'Coordinators', /Standby coordinator[\s\S]*Expand coordinator/)
    await group(1, at('worker-1'))
    const [primary] = await page
      .getByRole('article', { name: 'Group 1' })
      .getByRole('listitem')
      .allInnerTexts()
    expect(primary).toMatch(/^Primary\nwritable\n/)
    expect(primary).toMatch(/timeline 1\n[\s\S]*Writes from coordinator[\s\S]*Standby\nstreaming\n/)
    expect(primary).toMatch(new RegExp(`from ${at('worker-1')}[\\s\\S]*Reads from expand coordinator`))
    await expectFitForAll(page)
  })

  it('keys alone: skip, open, close', async () => {
    await page.reload()
    await shows(page, 'region', 'Summary', 'All is well')
    const focus = () => page.evaluate('document.activeElement.innerText || document.activeElement.id')
    await page.keyboard.press('Tab')
    expect(await focus()).toBe('Skip to the cluster')
    await page.keyboard.press('Enter')
    expect(await page.evaluate('document.activeElement.id')).toBe('cluster')
    await page.keyboard.press('Tab')
    expect(await focus()).toContain(`${at('coordinator')} is the primary`)
    expect(await page.evaluate('getComputedStyle(document.activeElement).outlineStyle')).toBe('solid')
    const evidence = page.getByRole('article', { name: 'Coordinators' }).getByText('Evidence')
    expect(await evidence.isVisible()).toBe(false)
    await page.keyboard.press('Enter')
    expect(await evidence.isVisible()).toBe(true)
    await page.keyboard.press('Escape')
    expect(await evidence.isVisible()).toBe(false)
    expect(await focus()).toContain(`${at('coordinator')} is the primary`)
    await page.keyboard.press('Tab')
    expect(await focus()).toContain(`${at('worker-1')} is the primary`)
  })

  it('a pause, whose reason stays text whatever is in it', async () => {
    await scenario.run('pause', '--group', '2', '--reason', HOSTILE)
    await shows(page, 'region', 'Paused', HOSTILE)
    await group(2, 'paused')
    expect(await page.evaluate('window.hacked')).toBeUndefined()
    expect(await page.locator('img, #app script').count()).toBe(0)
    await scenario.run('resume', '--group', '2')
    await waitUntil(
      'it is over',
      async () => (await page.getByRole('region', { name: 'Paused' }).count()) === 0,
    )
  })

  it.skipIf(standin)(
    'a failover that is blocked: each step as it happens, and nothing of the client',
    async () => {
      const { database } = scenario.cluster
      const key = await oldKeyOf(scenario.cluster, 1)
      const idle = await openTransaction(
        server('coordinator'),
        database,
        `UPDATE items SET note = 'blocked' WHERE id = ${key}`,
      )
      try {
        await server('worker-1').kill()
        await story(`${at('worker-1')}: lost`)
        await group(1, 'unreachable')
        await server('worker-1-standby').promote()
        await story(`${at('worker-1-standby')}: promoted`)
        await shows(page, 'region', 'Group 1: blocked, running', /1 blocking session on /)
        await shows(page, 'log', 'News', 'blocked')
        await shows(page, 'region', 'Problems', 'citus-ha reconcile')
        await expectFitForAll(page)
        expect(await page.content()).not.toMatch(/the-idle-one|UPDATE items/)
      } finally {
        await idle.end()
      }
      await shows(
        page,
        'region',
        /^Group 1: /,
        `primary-moved ${at('worker-1')} -> ${at('worker-1-standby')}`,
      )
      await group(
        1,
        new RegExp(`^.*Group 1[\\s\\S]*Primary\\nwritable\\n${at('worker-1-standby')}\\ntimeline 2`),
      )
    },
  )

  it.skipIf(standin)('the change afterwards, with what was before and after', async () => {
    const change = page
      .getByRole('group')
      .filter({ hasText: /Change \d+: group 1, changed/ })
      .first()
    await change.getByText(/Change \d+/).click()
    expect(await change.innerText()).toContain(`before ${at('worker-1')}\nafter ${at('worker-1-standby')}`)
    await scenario.cluster.rejoin(server('worker-1'), server('worker-1-standby'))
    await shows(page, 'region', 'Summary', 'All is well')
    await group(1, new RegExp(`Standby\\nstreaming\\n${at('worker-1')}`))
    if (process.env.CITUS_HA_SCREENSHOTS) {
      await mkdir('docs/images', { recursive: true })
      await page.setViewportSize({ width: 1280, height: 720 })
      await page.evaluate('scrollTo(0, 0)')
      await page.screenshot({ path: 'docs/images/page.png' })
      await page.setViewportSize({ width: 1360, height: 900 })
    }
  })

  it('a split brain: what it is, by which rule, on what evidence, and what to do', async () => {
    await server('worker-2-standby').promote()
    await group(2, 'split-brain')
    await shows(page, 'region', 'Summary', 'Needs attention: group 2: split-brain')
    expect(await page.title()).toMatch(/^! /)
    await shows(page, 'log', 'News', 'group 2 is split-brain')
    const shown = page.getByRole('article', { name: 'Group 2' })
    expect(await shown.getByRole('img', { name: 'wrong' }).count()).toBeGreaterThanOrEqual(3)
    expect((await shown.innerText()).match(/Primary\nwritable/g)).toHaveLength(2)
    await shown.getByText(`both take writes`).click()
    await group(2, /Evidence\n.*writable, timeline/)
    const problems = page.getByRole('region', { name: 'Problems' })
    await problems
      .getByRole('button', { name: 'Copy: pg_ctl stop -m fast -D DATA_DIRECTORY' })
      .first()
      .click()
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(
      'pg_ctl stop -m fast -D DATA_DIRECTORY',
    )
    await expectFitForAll(page)
  })

  it('that what is shown is old, when the watcher is gone, and not any more when it is back', async () => {
    await watcher.stop()
    await shows(
      page,
      'alert',
      '',
      'The connection to the watcher is lost: it does not answer. What is shown is from',
    )
    await shows(page, 'banner', '', 'Not connected')
    await group(2, 'split-brain')
    await expectFitForAll(page)
    await watch(new URL(url).host)
    await shows(page, 'banner', '', 'Live')
    await waitUntil('the alert is over', async () => (await page.getByRole('alert').count()) === 0)
  })

  it('without any other network, and without an error', () => {
    expect([...asked]).toEqual([new URL(url).origin])
    expect(wrong).toEqual([])
  })
})

describe('what a person sees of 200 servers', { timeout: 120_000 }, () => {
  let listener: WatchListener
  let page: Page

  beforeAll(async () => {
    if (none !== null) return
    const view = viewOf(surveyOf(wideCluster(100, { w70b: silent('w70b') })))
    const state = stateOf({ view })
    listener = await serve({
      listen: { host: '127.0.0.1', port: 0 },
      states: () => [state],
      metrics: { contentType: 'text/plain', text: async () => '' },
      problem: (line) => expect.fail(line),
    })
    listener.show(await Shown.open([]))
    ;({ page } = await openPage(`http://${formatAddress(listener.address)}/`))
  })
  afterAll(async () => {
    await listener?.close()
  })

  it('first what is wrong; the others are a line each, and open by a key', async () => {
    await shows(page, 'article', 'Group 70', 'unreachable')
    expect(await page.getByRole('article').count()).toBe(2)
    const tile = page.getByText('Group 42', { exact: true })
    expect(await page.getByText('Standby', { exact: true }).and(page.locator(':visible')).count()).toBe(1)
    await tile.click()
    expect(await page.getByText('Standby', { exact: true }).and(page.locator(':visible')).count()).toBe(2)
    await page.keyboard.press('Escape')
    expect(await page.getByText('Standby', { exact: true }).and(page.locator(':visible')).count()).toBe(1)
    await expectFitForAll(page)
  })

  it('few of them, where something is typed into the filter', async () => {
    await page.getByRole('searchbox', { name: 'Filter' }).fill('w7')
    await waitUntil('fewer are shown', async () => await page.getByText('11 of 100 groups').isVisible())
    expect(await page.getByText('Group 8', { exact: true }).count()).toBe(0)
  })
})
