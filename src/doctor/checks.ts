import type { Check } from './check.ts'
import { GROUP_CHECKS } from './checks/groups.ts'
import { METADATA_CHECKS } from './checks/metadata.ts'
import { NAME_CHECKS } from './checks/names.ts'
import { RETIRED_CHECKS } from './checks/retired.ts'
import { SERVER_CHECKS } from './checks/servers.ts'
import { SLOT_CHECKS } from './checks/slots.ts'
import { TRANSACTION_CHECKS } from './checks/transactions.ts'
import { VERSION_CHECKS } from './checks/versions.ts'

/** In the order in which they are asked and told; each finds what it finds. Ids are stable. */
export const CHECKS: readonly Check[] = [
  ...GROUP_CHECKS,
  ...NAME_CHECKS,
  ...METADATA_CHECKS,
  ...TRANSACTION_CHECKS,
  ...VERSION_CHECKS,
  ...SERVER_CHECKS,
  ...RETIRED_CHECKS,
  ...SLOT_CHECKS,
]
