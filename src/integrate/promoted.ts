import { formatAddress, parseAddress } from '../model/node.ts'
import { misused, type Word } from './word.ts'

/** `HOST:PORT` of a new primary: for whatever can call a command. @throws CitusHaError where it is no address */
export function readPromoted(args: readonly string[]): Word {
  const address = parseAddress(args[0] ?? '')
  if (!address || args.length !== 1) throw misused('promoted', 'HOST:PORT', args)
  const name = formatAddress(address)
  return { kind: 'promoted', names: [name], address, says: `${name} was promoted` }
}
