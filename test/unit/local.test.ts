import { once } from 'node:events'
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { socketOf } from '../../src/cli/local.ts'

const STRANGER = 12345
const PORT = 54991

/** Only root can make what is another user's. */
describe.skipIf(process.getuid?.() !== 0)('the socket that --local finds by itself', () => {
  test.each([
    ['is its own', 0o1777, { directory: 0, socket: 0 }, true],
    ['is of the directory’s owner, as in the image of PostgreSQL', 0o3777, { directory: 7, socket: 7 }, true],
    ['is another user’s, where that user alone may make one', 0o2775, { directory: 7, socket: 9 }, true],
    ['is another user’s, where anybody may make one', 0o1777, { directory: 0, socket: STRANGER }, false],
  ])('%s', async (_, mode, owners, isTaken) => {
    const directory = await mkdtemp(join(tmpdir(), 'citus-ha-local-'))
    const socket = join(directory, `.s.PGSQL.${PORT}`)
    const server = createServer().listen(socket)
    try {
      await once(server, 'listening')
      await chown(socket, owners.socket, owners.socket)
      await chown(directory, owners.directory, owners.directory)
      await chmod(directory, mode)
      const found = () => socketOf({ PGPORT: String(PORT) }, [directory])
      if (isTaken) expect(found()).toEqual({ host: directory, port: PORT })
      else
        expect(found).toThrow(`${socket} belongs to the user ${STRANGER}, and every user may make a socket`)
      const env = { PGPORT: String(PORT), PGHOST: directory }
      expect(socketOf(env)).toEqual({ host: directory, port: PORT })
    } finally {
      server.close()
      await rm(directory, { recursive: true })
    }
  })
})
