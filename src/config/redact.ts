// A password may hold any character somebody forgot to escape, so each pattern takes too much rather than too
// little: a URL's password ends at the last @ of the word, not at the first.
const SCHEME = String.raw`[a-z][a-z0-9+.-]{0,15}(?::\/\/|%3A%2F%2F)`
const IN_URL = new RegExp(
  String.raw`(${SCHEME}(?:(?!%3A)[^\s:@/])*(?::|%3A))(?:(?!${SCHEME})\S)*(@|%40)`,
  'gi',
)

// password=…, PGPASSWORD=…, sslpassword=…, in single quotes, in double quotes or bare, `\` escaping in each. A
// double quote ends a bare one only where JSON text may end there.
const IN_CONNINFO =
  /\b([a-z_]*password(?:\s*=\s*|%3D))('(?:\\.|''|[^'\\])*'?|"(?:\\.|[^"\\])*"?|(?:\\.|"(?![\s,}\]:]|$)|[^\s"\\])+)/gi

// "password":"…" of JSON, `password: …` of YAML and of an inspected object; not what `problems.ts` says of such a key.
const IN_DOCUMENT =
  /(\b[a-z_]*password["']?:\s*)(?!expected text, got |unknown key)("(?:\\.|[^"\\])*"?|'(?:\\.|''|[^'\\])*'?|[^\s,}"'][^\s,}]*)/gi

/** Takes the passwords out of URLs, connection strings and documents in any text meant for a log or a person. */
export function redact(text: string): string {
  return text
    .replace(IN_URL, '$1***$2')
    .replace(IN_CONNINFO, '$1***')
    .replace(IN_DOCUMENT, (_, key: string, value: string) => `${key}${quoted(value)}`)
}

function quoted(value: string): string {
  const [first] = value
  return first === '"' || first === "'" ? `${first}***${first}` : '***'
}
