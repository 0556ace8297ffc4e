import { describe } from 'vitest'
import { standin } from '../support/clients.ts'
import { tryMendings } from '../support/mends.ts'
import { SERVER_MENDINGS } from '../support/mends-servers.ts'

describe.skipIf(standin)(
  'what doctor prints is done as it is printed: metadata, transactions, servers',
  () => {
    tryMendings(SERVER_MENDINGS)
  },
)
