import type { SessionLike } from '../db/pg.ts'
import type { HostPort } from '../model/node.ts'
import type { Leadership } from './event.ts'

/** Who may change something: for the moment, everybody. */
export class Lead {
  readonly options: { open: (address: HostPort) => Promise<SessionLike>; intervalMs: number; holder: string }

  constructor(options: Lead['options']) {
    this.options = options
  }

  async hold(_coordinator: HostPort): Promise<Leadership> {
    return 'leading'
  }

  async stillLeads(): Promise<boolean> {
    return true
  }

  async release(): Promise<void> {}
}
