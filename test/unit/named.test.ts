import { describe, expect, it } from 'vitest'
import { ofNode, openNamed, saidOf } from '../../src/db/named.ts'
import { type SessionLike, SessionLost } from '../../src/db/pg.ts'
import { codeOf } from '../../src/db/sqlstate.ts'

const node = { host: '10.0.0.1', port: 543 }

describe('what fails says which node it is of', () => {
  it.each([
    ['Connection terminated unexpectedly', '10.0.0.1:543: Connection terminated unexpectedly'],
    ['10.0.0.1:543: not all locks came', '10.0.0.1:543: not all locks came'],
    ['10.0.0.1:543 does not answer', '10.0.0.1:543 does not answer'],
    // Of another one, whose name begins as this one's.
    ['10.0.0.1:5432 does not answer', '10.0.0.1:543: 10.0.0.1:5432 does not answer'],
  ])('%s', (text, said) => {
    expect(saidOf(node, text)).toBe(said)
  })

  it('keeps the code, and that a session is lost', () => {
    const late = Object.assign(new Error('lock timeout'), { code: '55P03' })
    expect(codeOf(ofNode(node, late))).toBe('55P03')
    const lost = ofNode(node, new SessionLost('no answer', 'SESSION_TIMEOUT'))
    expect(lost).toBeInstanceOf(SessionLost)
    expect(codeOf(lost)).toBe('SESSION_TIMEOUT')
  })

  it('on a session and while it is opened', async () => {
    const session: SessionLike = {
      pid: 7,
      alive: true,
      run: async () => {
        throw new SessionLost('it is gone', 'ECONNRESET')
      },
      close: async () => undefined,
    }
    const opened = await openNamed({ open: async () => session }, node, 'app')
    expect(opened).toMatchObject({ pid: 7, alive: true })
    await expect(opened.run('SELECT', 1)).rejects.toThrow('10.0.0.1:543: it is gone')
    const refused = async () => {
      throw new Error('the database system is starting up')
    }
    await expect(openNamed({ open: refused }, node, 'app')).rejects.toThrow(
      '10.0.0.1:543: the database system',
    )
  })
})
