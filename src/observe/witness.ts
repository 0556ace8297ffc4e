import type { z } from 'zod'
import type { ProbeConnection } from '../db/postgres.ts'
import { statement } from '../db/sql.ts'
import { formatAddress, type HostPort } from '../model/node.ts'
import type { Testimony } from '../model/observation.ts'
import { inOneLine } from '../model/one-line.ts'
import { proves, SIGHTS, type Sight } from '../model/sight.ts'
import { type Asked, testify } from '../model/testify.ts'
import { messagesRow, reachesRow } from './rows.ts'
import { type Notice, sightOf } from './sight.ts'

/**
 * Asks a witness, through Citus, what it sees of a node. Where it does not reach it, the same of a node that is known to
 * live: one that is cut off itself, or has no password for anybody, is found out.
 * @param connection on which nobody else asks anything meanwhile
 * @throws what the driver or the witness says
 */
export async function askWitness(
  connection: ProbeConnection,
  asked: Asked,
  control: HostPort,
): Promise<Testimony> {
  let notices: Notice[] = []
  connection.onNotice((notice) => notices.push(notice))
  try {
    const ask = async ({ host, port }: HostPort) => {
      notices = []
      const reaches = { sql: statement('probe/reaches'), parameters: [host, port] }
      const [messages, row] = await connection.each([statement('probe/messages'), reaches])
      return { messages: messagesRow.parse(messages), reached: reachesRow.parse(row) }
    }
    const look = async (to: HostPort): Promise<{ saw: Sight; why: string }> => {
      const { messages, reached } = await ask(to)
      let saw = sightOf(reached, notices)
      if (saw === 'not-understood' && (await untranslate(connection, messages)))
        saw = sightOf((await ask(to)).reached, notices)
      const said = notices.map(({ message }) => inOneLine(message)).join('; ')
      return { saw, why: saw === 'reached' ? 'reaches it' : `${SIGHTS[saw].says}${said && ` (${said})`}` }
    }
    const { saw, why } = await look(asked.about)
    if (saw === 'reached') return testify(asked, saw, why)
    const other = await look(control)
    // Whoever is answered by one and not by the other can tell them apart: it need not be let in.
    if (proves(saw) !== 'down' || proves(other.saw) === 'alive') return testify(asked, saw, why, other.saw)
    const neither = `reaches neither it nor ${formatAddress(control)}, which is running`
    return testify(asked, 'cut-off', `${neither} (${why}; ${other.why})`, other.saw)
  } finally {
    // The connection goes on as a probe's, for as long as a watch runs.
    connection.onNotice(() => undefined)
  }
}

/**
 * The witness's libpq says why in the language of `lc_messages`; what can't be set to C, is not understood.
 * @returns whether it says it in another way from now on
 */
async function untranslate(
  connection: ProbeConnection,
  { translated, may_set }: z.infer<typeof messagesRow>,
): Promise<boolean> {
  if (!translated || may_set === 'no') return false
  await connection.one(
    statement(may_set === 'itself' ? 'probe/untranslate' : 'probe/untranslate-by-function'),
  )
  return true
}
