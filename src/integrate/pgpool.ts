import { formatAddress } from '../model/node.ts'
import { addressOf, misused, type Word } from './word.ts'

const FAILOVER = 'failover %d "%h" %p "%D" %m "%H" %M %P "%r" "%R" "%N" "%S"'
const FOLLOW = FAILOVER.replace('failover', 'follow_primary')
const COMMANDS = new Set(['failover', 'follow_primary'])

/**
 * `failover` or `follow_primary`, and the twelve placeholders in the order of Pgpool-II's sample scripts: failed node
 * (id, host, port, directory), new main node (id, host), old main id, old primary id, new main node (port, directory),
 * old primary (host, port). Whatever can be empty needs quotes in pgpool.conf.
 * @throws CitusHaError where these are not such arguments
 */
export function readPgpool(args: readonly string[]): Word {
  const [command = '', failed = '', , , , main = '', host = '', , primary = '', port = ''] = args
  if (!COMMANDS.has(command) || args.length !== 13 || ![failed, main, primary].every(isId))
    throw misused('pgpool', `${FAILOVER} or ${FOLLOW}`, args)
  const address = addressOf(host, port)
  const about = (what: string) => `Pgpool-II ${command}: ${what}`
  if (Number(main) < 0 || !address)
    return { kind: 'unconcerned', says: about('no node is left that could become the primary') }
  if (command === 'failover' && failed !== primary && primary !== '-1')
    return { kind: 'unconcerned', says: about(`node ${failed} failed, the primary is ${primary}`) }
  const says = about(`node ${main}, ${formatAddress(address)}, replaces node ${primary}`)
  return { kind: 'promoted', names: [formatAddress(address), main], address, says }
}

function isId(text: string): boolean {
  return /^-?\d{1,4}$/.test(text)
}
