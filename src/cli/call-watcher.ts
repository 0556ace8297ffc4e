import type { Config } from '../config/schema.ts'
import { type ControlAnswer, type ControlCall, callControl } from '../http/control/client.ts'
import type { Io } from './io.ts'
import { tellDetail } from './tell.ts'

/** Asks the watcher that the configuration names, and says so where somebody wants to know. Never throws. */
export async function callWatcher(
  io: Io,
  config: Config,
  call: Omit<ControlCall, 'signal'>,
): Promise<ControlAnswer> {
  const url = config.control?.connect.url
  const began = performance.now()
  const answered = url === undefined ? undefined : io.waiting?.begin(url, call.timeoutMs)
  const answer = await callControl(config, { ...call, signal: io.signal })
  answered?.()
  const after = `after ${(performance.now() - began).toFixed(1)} ms`
  const came =
    answer.kind === 'answered'
      ? `answered with HTTP status ${answer.status}`
      : `did not answer: ${answer.why}`
  if (url !== undefined) tellDetail(io, `${call.method} ${url}${call.path}: the watcher ${came}, ${after}`)
  return answer
}
