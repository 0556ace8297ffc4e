import type { Scenario } from './scenario.ts'

/** The cluster as it was at the snapshot; then worker 1 dies and its standby is promoted. Nobody has reconciled yet. */
export async function restoreFailedOver({ cluster }: Scenario): Promise<void> {
  await cluster.restore()
  await cluster.server('worker-1').kill()
  await cluster.server('worker-1-standby').promote()
}
