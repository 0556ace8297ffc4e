import { saidOf } from '../db/named.ts'
import { codeOf, messageOf } from '../db/sqlstate.ts'
import type { Ailing, ParticipantStep } from '../model/ailing.ts'
import type { HostPort } from '../model/node.ts'

/** What one participant of a change failed with: which, at what, and by which SQLSTATE. The cause is kept. */
export class ParticipantError extends Error {
  override readonly name = 'ParticipantError'
  readonly ailing: Ailing
  readonly code: string | undefined

  constructor(node: HostPort, step: ParticipantStep, cause: unknown) {
    super(saidOf(node, messageOf(cause)), { cause })
    this.code = codeOf(cause)
    this.ailing = { node, step, code: this.code ?? null, message: messageOf(cause) }
  }
}

/** Several at once: the first of `errors` is the one that is told. */
export class SeveralFailed extends Error {
  override readonly name = 'SeveralFailed'
  readonly errors: readonly unknown[]
  readonly code: string | undefined

  constructor(errors: readonly unknown[]) {
    super(messageOf(errors[0]), { cause: errors[0] })
    this.errors = errors
    this.code = codeOf(errors[0])
  }
}

/** Every single failure in what was thrown. */
export function failuresIn(error: unknown): readonly unknown[] {
  return error instanceof SeveralFailed ? error.errors.flatMap(failuresIn) : [error]
}

/** Which participants failed, among what was thrown. */
export function ailingIn(error: unknown): Ailing[] {
  return failuresIn(error).flatMap((each) => (each instanceof ParticipantError ? [each.ailing] : []))
}

/** @throws ParticipantError in the place of what `work` throws */
export async function asParticipant<T>(
  node: HostPort,
  step: ParticipantStep,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw error instanceof ParticipantError ? error : new ParticipantError(node, step, error)
  }
}
