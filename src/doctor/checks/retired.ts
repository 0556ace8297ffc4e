import { formatAddress } from '../../model/node.ts'
import { rejoinCommand, retiredIn } from '../../model/retired.ts'
import type { Check } from '../check.ts'
import { serverFound } from '../servers.ts'

/** What a switchover leaves to people. */
export const RETIRED_CHECKS: readonly Check[] = [
  {
    id: 'H180',
    code: 'retired-primary',
    severity: 'warning',
    says: 'an old primary runs on, read-only, after a switchover: the group has a standby less',
    when: (facts) =>
      retiredIn(facts.survey, facts.diagnoses).map((retired) => {
        const { node, primary } = retired
        const what = `an old primary that runs on, read-only; ${formatAddress(primary.address)} has taken its place`
        const evidence = [`timeline ${node.timeline ?? '?'}, the primary’s is ${primary.timeline ?? '?'}`]
        return serverFound(facts, node, what, evidence, rejoinCommand(retired, facts.survey.database))
      }),
  },
]
