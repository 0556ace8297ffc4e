/** Anchors of the headings of a page in Markdown, as GitHub and npm make them. */
export function headingsOf(page: string): Set<string> {
  const titles = [...page.matchAll(/^#+ +(.+)$/gm)].map(([, title = '']) => title)
  return new Set(
    titles.map((title) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}
