import { type CatalogRow, COORDINATOR_GROUP, primaryOf } from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { formatAddress, sameAddress } from '../model/node.ts'
import { remark } from '../model/remark.ts'
import { remedyOf } from '../model/remedy.ts'
import { aliasOf, describeSecondName } from './alias.ts'
import { type Draft, lend } from './draft.ts'
import { best } from './order.ts'
import type { TargetInput } from './target-input.ts'

/**
 * `routing.primaryDown: secondary`: the primary is down and nothing is promoted. Its row carries another name of a live
 * secondary, so that reads through the coordinator and its standbys go on, and writes are refused as read-only. The
 * promotion's own change ends it, or the primary that is back. Group 0 has no use for it: who would write it?
 */
export function degrade(draft: Draft, input: TargetInput, { group, code }: Diagnosis): void {
  const primary = primaryOf(draft.catalog, group)
  if (code !== 'primary-down' || group === COORDINATOR_GROUP || !primary) return
  if (input.following.some((name) => sameAddress(name, primary.address))) {
    const text = `group ${group}: reads fail while the primary is down: ${formatAddress(primary.address)} follows the primary by itself (addresses, follows), and its row is never rewritten`
    draft.remarks.push(remark('reads-fail', text, { group, node: primary.address }))
    return
  }
  const stand = standIn(draft, input, primary)
  if (!stand) {
    const text = `group ${group}: no secondary is left to read from while the primary is down`
    draft.remarks.push(remark('reads-fail', text, { group }))
    return
  }
  const obstacle = lend(draft, primary, stand, input)
  if (obstacle !== null) {
    const text = `group ${group}: ${obstacle}; configure an alias for it under "addresses"`
    draft.remarks.push(remark('no-alias', text, { group, node: stand.address }))
    return
  }
  const given = primaryOf(draft.catalog, group)?.address ?? stand.address
  const why = `down: reads go to a standby (${describeSecondName(given, stand.address)}); writes fail until a standby is promoted`
  draft.why.set(primary.nodeid, { kind: 'degraded', why })
}

/** The secondary that stands in already, as long as it serves; else the one that is least behind. */
function standIn(draft: Draft, input: TargetInput, primary: CatalogRow): CatalogRow | null {
  const live = draft.catalog
    .filter((row) => row.group === primary.group && row.role === 'secondary' && !row.isclone && row.isactive)
    .filter((row) => ['good', 'serves'].includes(input.conditions.of(row.group, row.address)))
  const now = input.catalog.find((row) => row.nodeid === primary.nodeid)
  const current = live.find((row) => {
    const alias = aliasOf(row.address, input.aliases)
    return now && alias && remedyOf(now, input.remedies) && sameAddress(alias, now.address)
  })
  return current ?? best(live, { conditions: input.conditions, racks: [primary.rack] })
}
