/** What speaks against a switchover, with what a person does about it: a command, a condition behind `#` where there is one. */
export function refusal(why: string, next: string): string {
  return `${why}; next: ${next}`
}

export const GRANT = 'citus-ha install --switchover --user postgres   # or another superuser'
