import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { databaseSlug, formatGid, type Gid, parseGid } from '../../src/model/gid.ts'
import { formatAddress, parseAddress } from '../../src/model/node.ts'
import { aliasOf, isAliasOf } from '../../src/plan/alias.ts'
import { decide } from '../../src/recover/decide.ts'

const NAME = 'abcdefghijklmnopqrstuvwxyz0123456789_-'
/** As the configuration allows them. */
const cluster = fc.string({ unit: fc.constantFrom(...NAME), minLength: 1, maxLength: 40 })
/** PostgreSQL: up to 63 bytes, of anything but a zero byte. */
const database = fc
  .oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 63 }),
    fc.string({ minLength: 1, maxLength: 63 }),
  )
  .map((name) => name.replaceAll('\0', '_').replace(/[\uD800-\uDFFF]/g, '.'))
  .filter((name) => Buffer.byteLength(name) <= 63)

const gid: fc.Arbitrary<Gid> = fc.record({
  cluster,
  database,
  timeline: fc.integer({ min: 0, max: 0x7fffffff }),
  epoch: fc.integer({ min: 0, max: 999_999_999_999_999 }),
  random: fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 8, maxLength: 8 }),
  participant: fc.integer({ min: 0, max: 9999 }),
})

describe('a gid', () => {
  test('is short enough, needs no quoting, and is read back', () => {
    fc.assert(
      fc.property(gid, (made) => {
        const text = formatGid(made)
        expect(Buffer.byteLength(text)).toBeLessThan(200)
        expect(text).toMatch(/^[A-Za-z0-9_.-]+$/)
        expect(text).not.toMatch(/^citus_\d/)
        expect(parseGid(text, made.cluster, made.database)).toEqual(made)
      }),
      { numRuns: 1500 },
    )
  })

  test('is nobody else’s: of another cluster or database, with more before or after', () => {
    fc.assert(
      fc.property(gid, cluster, database, fc.string({ minLength: 1 }), (made, other, elsewhere, more) => {
        const text = formatGid(made)
        if (other !== made.cluster) expect(parseGid(text, other, made.database)).toBeNull()
        if (elsewhere !== made.database) expect(parseGid(text, made.cluster, elsewhere)).toBeNull()
        expect(parseGid(`${text}_1`, made.cluster, made.database)).toBeNull()
        expect(parseGid(more + text, made.cluster, made.database)).toBeNull()
        if (!/^\d+$/.test(more)) expect(parseGid(text + more, made.cluster, made.database)).toBeNull()
      }),
      { numRuns: 1000 },
    )
  })

  test('of two clusters whose names and databases join to one text is told apart', () => {
    const parts = { timeline: 1, epoch: 2, random: '00000003', participant: 4 }
    const joined = formatGid({ cluster: 'a_b', database: 'c', ...parts })
    expect(parseGid(joined, 'a', 'b_c')).toBeNull()
    expect(parseGid(joined, 'a', 'b')).toBeNull()
    expect(databaseSlug('b_c')).toBe('b.5fc')
  })

  test.each(['citus_0_1234_5_6', 'citus_ha_', 'citus_ha_c_app_1_2_3', 'citus_ha_c_app_1_2_ABCDEF00_1', 'x'])(
    'is not %s',
    (text) => {
      expect(parseGid(text, 'c', 'app')).toBeNull()
    },
  )
})

describe('a prepared transaction', () => {
  test('is committed only if exactly it was decided, and never touched if it is not ours', () => {
    const known = fc.constantFrom('decided', 'another decided', 'nothing decided')
    fc.assert(
      fc.property(
        gid,
        known,
        fc.integer({ min: 0, max: 0x7fffffff }),
        fc.string(),
        (made, what, timeline, text) => {
          const exact = formatGid(made)
          const sibling = formatGid({ ...made, participant: (made.participant + 1) % 10_000 })
          const committed = new Set(
            what === 'decided' ? [exact] : what === 'another decided' ? [sibling, text] : [],
          )
          const decisions = { cluster: made.cluster, database: made.database, timeline, committed }
          const expected = what === 'decided' ? 'commit' : made.timeline > timeline ? 'leave' : 'roll back'
          expect(decide(exact, decisions)).toMatchObject({ action: expected, gid: exact })
          // Not even if a foreign gid got into the record.
          const all = { ...decisions, committed: new Set([exact, text]) }
          expect(decide(exact, { ...all, cluster: `${made.cluster}x` }).action).toBe('leave')
          expect(decide(text, all).action).toBe('leave')
        },
      ),
      { numRuns: 1500 },
    )
  })
})

const label = fc
  .string({ unit: fc.constantFrom(...NAME, 'A', 'Z'), minLength: 1, maxLength: 20 })
  .filter((text) => !text.startsWith('-') && !text.endsWith('-'))
const host = fc.oneof(
  fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.')),
  fc.ipV4(),
  fc.ipV6(),
)
const hostPort = fc.record({ host, port: fc.integer({ min: 1, max: 65535 }) })

describe('an address', () => {
  test('is read back as it was shown', () => {
    fc.assert(
      fc.property(hostPort, (address) => {
        expect(parseAddress(formatAddress(address))).toEqual(address)
      }),
      { numRuns: 1000 },
    )
  })

  test('is either refused or one that reads back, whatever the text', () => {
    const text = fc.oneof(
      fc.string({ maxLength: 16 }),
      fc.tuple(fc.string({ maxLength: 16 }), fc.nat(70_000)).map(([a, b]) => `${a}:${b}`),
    )
    fc.assert(
      fc.property(text, (given) => {
        const parsed = parseAddress(given)
        if (!parsed) return
        expect(parseAddress(formatAddress(parsed))).toEqual(parsed)
        expect(`${parsed.host}`).toMatch(/^[\w.:%-]+$/)
      }),
      { numRuns: 1000 },
    )
  })

  test('has another name that is not itself and leads back to it, or none', () => {
    fc.assert(
      fc.property(hostPort, (address) => {
        const alias = aliasOf(address, [])
        if (!alias) return
        expect(formatAddress(alias)).not.toBe(formatAddress(address))
        expect(isAliasOf(alias, address, [])).toBe(true)
        expect(aliasOf(alias, [])).toEqual(address)
        expect(parseAddress(formatAddress(alias))).toEqual(alias)
      }),
      { numRuns: 1000 },
    )
  })

  test.each([
    'w1',
    'w1:',
    'w1:0',
    'w1:65536',
    ':5432',
    'w 1:5432',
    '[::1:5432',
    '::1:5432',
    "w1';--:1",
    '-w:1',
  ])('is not %s', (text) => {
    expect(parseAddress(text)).toBeNull()
  })
})
