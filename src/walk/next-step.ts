import { primaryOf } from '../model/catalog.ts'
import type { Diagnosis } from '../model/diagnosis.ts'
import { type About, commandOf, nextStep, type StepCode } from '../model/next-step.ts'
import { type HostPort, parseAddress } from '../model/node.ts'
import type { Remark } from '../model/remark.ts'
import type { View } from './look.ts'

/** What a person does about something that is wrong: a command, with `#` and a condition behind it where there is one. */
export interface NextStep {
  /** null: nothing, or the sentence has its command itself. */
  readonly next: string | null
}

/** A sentence with what to do about it. */
export function withNext<R extends Remark<StepCode>>(remark: R, view: View): R & NextStep {
  const { group, code } = remark
  const node = remark.node === null ? null : parseAddress(remark.node)
  const step = nextStep(code, aboutIn(view, group, node))
  return { ...remark, next: step && commandOf(step) }
}

/** What a person does about a group for which nothing may be written. */
export function nextOfRefusal({ group, code }: Diagnosis, view: View): string {
  const step = nextStep(code, aboutIn(view, group, null))
  return step === null ? 'citus-ha doctor' : commandOf(step)
}

export function aboutIn({ survey, coordinator }: View, group: number | null, node: HostPort | null): About {
  const { database } = survey
  const row = group === null ? undefined : primaryOf(coordinator.citus?.catalog ?? [], group)
  return { database, coordinator: coordinator.address, group, node, primary: row?.address ?? null }
}
