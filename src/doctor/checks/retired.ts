import { mend } from '../../model/next-step.ts'
import { formatAddress } from '../../model/node.ts'
import { type Retired, rejoinCommand, retiredIn } from '../../model/retired.ts'
import { shellWord } from '../../model/shell.ts'
import type { Check, Facts, Found } from '../check.ts'
import { alterSystem, members, serverFound, settingOf } from '../servers.ts'

const NAME = 'citus.recover_2pc_interval'

/** What a switchover leaves to people. */
export const RETIRED_CHECKS: readonly Check[] = [
  {
    id: 'H180',
    code: 'retired-primary',
    severity: 'warning',
    says: 'an old primary is still running, read-only, after a switchover: the group has one standby fewer',
    when: (facts) =>
      retiredIn(facts.survey, facts.diagnoses)
        .filter(({ node }) => node.readOnly)
        .map((retired) => retiredFound(facts, retired, 'read-only')),
  },
  {
    id: 'H182',
    code: 'old-primary-writes',
    severity: 'error',
    says: 'an old primary that is retired still takes writes of clients that are connected to it: they are lost',
    when: (facts) =>
      retiredIn(facts.survey, facts.diagnoses)
        .filter(({ node }) => !node.readOnly)
        .map((retired) => retiredFound(facts, retired, 'and takes writes of its own, which are lost')),
  },
  {
    id: 'H181',
    code: 'recovery-off',
    severity: 'warning',
    says: 'Citus on a server that is, or may become, a primary recovers no prepared transactions: an old primary was started again with the settings of a retired one',
    when: (facts) => {
      const old = retiredIn(facts.survey, facts.diagnoses).map(({ node }) => node.instance)
      return members(facts)
        .filter((each) => settingOf(each, NAME) === '-1' && !old.includes(each.node.instance))
        .map(({ node }) =>
          serverFound(
            facts,
            node,
            `${NAME} is -1: transactions over several nodes that are interrupted keep their locks for ever`,
            [`${NAME} = -1`],
            mend(alterSystem(facts, node, NAME, `'60s'`)),
          ),
        )
    },
  },
]

function retiredFound(facts: Facts, retired: Retired, how: string): Found {
  const { node, primary } = retired
  const what = `an old primary that is still running, ${how}; ${formatAddress(primary.address)} has taken its place`
  const evidence = [`timeline ${node.timeline ?? '?'}, the primary’s is ${primary.timeline ?? '?'}`]
  const rejoin = `${rejoinCommand(retired, facts.survey.database)}   # on ${shellWord(formatAddress(node.address))}; or rebuild it by pg_basebackup`
  return serverFound(facts, node, what, evidence, mend(rejoin))
}
