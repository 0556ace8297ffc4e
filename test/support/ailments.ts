import type { Ailment } from './ailment.ts'
import { GROUPS, NAMES } from './ailments-groups.ts'
import { METADATA } from './ailments-metadata.ts'
import { SERVERS, TRANSACTIONS } from './ailments-servers.ts'

export const CASES: readonly Ailment[] = [...GROUPS, ...NAMES, ...METADATA, ...TRANSACTIONS, ...SERVERS]
