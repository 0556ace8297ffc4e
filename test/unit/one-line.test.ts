import { describe, expect, test } from 'vitest'
import { messageOf } from '../../src/db/sqlstate.ts'
import { inOneLine } from '../../src/model/one-line.ts'
import { observationOf } from '../../src/observe/failure.ts'
import { address } from '../support/builders.ts'

describe('what a server says is one line', () => {
  test.each([
    ['as it is', 'no answer', 'no answer'],
    ['a line end', 'no\nanswer', 'no answer'],
    ['of Windows, and an indentation', 'no\r\n\t  answer', 'no answer'],
    ['at the ends', '\n no answer \n', 'no answer'],
    ['nothing', ' \n', ''],
  ])('%s', (_, said, text) => {
    expect(inOneLine(said)).toBe(text)
  })

  test('in an error, and in what was seen of a server', () => {
    const error = new Error('FATAL: closed\nHINT: open it')
    expect(messageOf(error)).toBe('FATAL: closed HINT: open it')
    expect(observationOf(error, address('w1a'))).toMatchObject({ detail: 'FATAL: closed HINT: open it' })
  })
})
