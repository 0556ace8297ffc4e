import { CitusHaError, type FailureCode } from '../../model/failure.ts'
import { describeError, isForbidden } from '../../walk/describe-error.ts'

/** An order that came to nothing, as it is answered. */
export interface FailedOrder {
  readonly status: number
  readonly body: {
    readonly error: string
    readonly code?: FailureCode | 'interrupted'
    readonly exitCode?: number
  }
}

const STATUS: Readonly<Record<FailureCode, number>> = {
  usage: 400,
  configuration: 409,
  'not-installed': 409,
  'two-coordinators': 409,
  'no-coordinator': 503,
  blocked: 503,
}

/** Status, one line without passwords, and the exit code that the command would have had. */
export function failedOrder(error: unknown): FailedOrder {
  const { line, exitCode } = describeError(error)
  if (error instanceof CitusHaError) {
    const { code } = error
    return { status: STATUS[code], body: { error: line, code, exitCode } }
  }
  if (isForbidden(error)) {
    return { status: STATUS.configuration, body: { error: line, code: 'configuration', exitCode } }
  }
  if (error instanceof Error && error.name === 'AbortError') {
    const ended =
      'the watch is stopping or reading its configuration again; nothing was left unfinished; send the request again'
    return { status: 503, body: { error: ended, code: 'interrupted', exitCode } }
  }
  return { status: 500, body: { error: line, exitCode } }
}
