import type { LogFormat, LogLevel } from '../config/log-level.ts'
import type { Report } from '../model/outcome.ts'
import type { Io } from './io.ts'
import { logWriter } from './log-writer.ts'
import { tellProgress, tellWarning } from './tell.ts'

/** Where a command tells a log collector what it saw and did: one line a fact, with the rule's id. */
export interface Log {
  readonly progress: (line: string) => void
  readonly warn: (text: string) => void
  readonly report: (report: Report) => void
}

export interface LogOptions {
  readonly logLevel: LogLevel
  readonly logFormat?: LogFormat
}

/**
 * Lines on stderr by pino. Silent: progress goes there as plain text instead.
 * pino is loaded only where it is wanted, since no command should wait for it.
 */
export async function openLog({ logLevel: level, logFormat }: LogOptions, io: Io): Promise<Log> {
  if (level === 'silent') {
    return {
      progress: (line) => tellProgress(io, line),
      warn: (text) => tellWarning(io, text),
      report: () => undefined,
    }
  }
  const { pino } = await import('pino')
  const log = pino({ level, name: 'citus-ha' }, { write: await logWriter(logFormat ?? 'auto', io) })
  return {
    progress: (line) => log.info(line),
    warn: (text) => log.warn(text),
    report: ({
      database,
      groups,
      refusals,
      changes,
      warnings,
      unfenced,
      ended,
      outcome,
      epoch,
      durationMs,
    }) => {
      for (const { group, rule, code, summary } of groups) {
        const refused = refusals.some((refusal) => refusal.group === group)
        log[refused ? 'warn' : 'debug']({ database, group, rule, code }, summary)
      }
      for (const change of changes) log.info({ database, ...change }, 'row')
      for (const blocker of ended) log.warn({ ...blocker, database: blocker.database ?? database }, 'ended')
      for (const warning of [...unfenced, ...warnings]) log.warn({ database }, warning)
      log.info({ database, outcome, epoch, durationMs }, 'reconciled')
    },
  }
}
