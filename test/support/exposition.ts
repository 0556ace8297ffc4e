/** One metric as Prometheus reads it. */
interface Family {
  readonly help: string
  readonly type: string
  readonly samples: Map<string, number>
}

const SAMPLE = /^([a-z_][a-z0-9_]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (NaN|[+-]Inf|[-+0-9.e]+)$/

/**
 * Reads Prometheus's text format as strictly as it is written down: HELP and TYPE before the samples, each sample
 * once, names as announced. Samples are keyed `name{label="value",…}` with the labels in order of their names.
 */
export function readExposition(text: string): Map<string, Family> {
  const families = new Map<string, Family>()
  let name = ''
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const [, kind, of = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? []
    if (kind === 'HELP') {
      if (families.has(of)) throw new Error(`${of} is told twice`)
      families.set(of, { help: rest, type: '', samples: new Map() })
      name = of
      continue
    }
    const family = families.get(name)
    if (!family) throw new Error(`not announced: ${line}`)
    if (kind === 'TYPE') {
      if (of !== name || family.type !== '') throw new Error(`misplaced: ${line}`)
      families.set(name, { ...family, type: rest })
      continue
    }
    addSample(family, name, line)
  }
  return families
}

function addSample(family: Family, name: string, line: string): void {
  const [, sample = '', labels = '', value = ''] = SAMPLE.exec(line) ?? []
  const suffixes = family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
  if (!suffixes.some((suffix) => sample === name + suffix))
    throw new Error(`not a sample of ${name}: ${line}`)
  const sorted = [...labels.matchAll(/[a-z_]+="(?:[^"\\]|\\.)*"/g)].map(([each]) => each).sort()
  const key = sorted.length === 0 ? sample : `${sample}{${sorted.join(',')}}`
  if (family.samples.has(key)) throw new Error(`${key} is given twice`)
  family.samples.set(key, Number(value.replace('Inf', 'Infinity')))
}

/** Every sample of every family, by its key. */
export function samplesOf(text: string): Record<string, number> {
  return Object.fromEntries([...readExposition(text).values()].flatMap(({ samples }) => [...samples]))
}
