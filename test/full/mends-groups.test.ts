import { describe } from 'vitest'
import { standin } from '../support/clients.ts'
import { tryMendings } from '../support/mends.ts'
import { GROUP_MENDINGS } from '../support/mends-groups.ts'

describe.skipIf(standin)('what doctor prints is done as it is printed: groups and names', () => {
  tryMendings(GROUP_MENDINGS)
})
