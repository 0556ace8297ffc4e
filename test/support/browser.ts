import { existsSync } from 'node:fs'
import axe from 'axe-core'
import { type Browser, chromium, type Page } from 'playwright-core'
import { waitUntil } from '../../src/demo/wait.ts'

const CHROMIUM = '/usr/bin/chromium'
const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Why no browser can be started here; null: one can. */
export function whyNoBrowser(): string | null {
  return existsSync(CHROMIUM) ? null : `no ${CHROMIUM} here: on Debian it is in the package chromium`
}

export async function startBrowser(): Promise<Browser> {
  return await chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS })
}

/** Waits until an element that is found by its role and name holds this text. */
export async function shows(
  page: Page,
  role: Parameters<Page['getByRole']>[0],
  name: string | RegExp,
  text: string | RegExp,
): Promise<void> {
  let seen: string | null = null
  await waitUntil(`${role} ${name} shows ${text}`, async () => {
    seen = (await page.getByRole(role, { name }).allInnerTexts()).join('\n')
    return typeof text === 'string' ? seen.includes(text) : text.test(seen)
  }).catch((error: Error) => {
    throw new Error(`${error.message}; it shows: ${seen}`, { cause: error })
  })
}

/** What axe finds to be a serious or critical hindrance, a line each. */
export async function hindrances(page: Page): Promise<string[]> {
  // The page's own policy lets no other script in: this one is the debugger's.
  await page.evaluate(axe.source)
  const { violations } = await page.evaluate(async () => {
    const { axe: inPage } = globalThis as unknown as { axe: typeof axe }
    return await inPage.run()
  })
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}: ${failureSummary}`))
}

/** How many pixels do not fit into the width. */
export async function overflow(page: Page): Promise<number> {
  return await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')
}
