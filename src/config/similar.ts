/** @returns of the candidates the one that `word` is most likely a slip of, case and `_` and `-` aside; null: none is near */
export function similarTo(word: string, candidates: readonly string[]): string | null {
  const wanted = bare(word)
  const near = candidates
    .map((candidate) => ({ candidate, edits: editsBetween(wanted, bare(candidate)) }))
    .filter(({ edits }) => edits <= Math.floor(wanted.length / 3))
    .sort((a, b) => a.edits - b.edits)
  return near[0]?.candidate ?? null
}

/** As it is compared: `lock_timeout` is `lockTimeout`. */
export function bare(word: string): string {
  return word.toLowerCase().replace(/[_-]/g, '')
}

/** Levenshtein's distance: how many letters are put in, left out or changed. */
function editsBetween(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const changed = (above[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(changed, (above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1))
    }
    above = row
  }
  return above[b.length] ?? 0
}
