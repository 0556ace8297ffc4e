import { InvalidArgumentError, Option } from 'commander'
import { formatDuration, parseDuration } from '../config/duration.ts'
import { LOG_FORMATS } from '../config/log-level.ts'
import { readListener } from '../config/scalars.ts'
import { DEFAULT_LISTENER } from '../config/schema.ts'
import { type HostPort, parseAddress } from '../model/node.ts'

/** @throws InvalidArgumentError, which commander reports with the option's name and exit code 2 */
export function durationOption(text: string): number {
  const ms = parseDuration(text)
  if (ms === null) throw new InvalidArgumentError('expected a duration such as 200ms, 10s or 5m.')
  return ms
}

/** An option that is a duration, with its default in milliseconds: the help shows it as it is typed. */
export function durationWithDefault(flags: string, description: string, defaultMs: number): Option {
  return new Option(flags, description)
    .argParser(durationOption)
    .default(defaultMs, formatDuration(defaultMs))
}

export function addressOption(text: string): HostPort {
  const address = parseAddress(text)
  if (!address) throw new InvalidArgumentError('expected HOST:PORT, such as worker-1b.example:5432.')
  return address
}

/** @param before where it was given before: nobody should take the last of two for both */
export function groupOption(text: string, before?: number): number {
  if (before !== undefined)
    throw new InvalidArgumentError(`group ${before} was already given: give one group only.`)
  return readGroup(text)
}

function readGroup(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected a group id, such as 1.')
  return Number(text)
}

/** `1` or `1,2,3`; given twice, both. */
export function groupsOption(text: string, before: readonly number[] = []): number[] {
  return [...before, ...text.split(',').map(readGroup)]
}

export function countOption(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text))
    throw new InvalidArgumentError('expected a whole number from 1 to 999999.')
  return Number(text)
}

/** How log lines are written; undefined where it is not given. */
export function logFormatOption(): Option {
  return new Option(
    '--log-format <format>',
    'format of the log lines; auto: text on a terminal, else JSON',
  ).choices(LOG_FORMATS)
}

/** `--http` alone, or with the address: a HostPort either way, undefined where it is not given. */
export function httpOption(): Option {
  return new Option(
    '--http [host:port]',
    `serve /healthz, /readyz, /metrics and /status (${DEFAULT_LISTENER})`,
  )
    .preset(DEFAULT_LISTENER)
    .argParser((text: string): HostPort => {
      const listener = readListener(text)
      if (!listener) throw new InvalidArgumentError('expected HOST:PORT, such as 127.0.0.1:8008, or :PORT.')
      return listener
    })
}
