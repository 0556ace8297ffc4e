/** What a server says, in one line: its messages have line ends, and a report or a command is a line. */
export function inOneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim()
}
