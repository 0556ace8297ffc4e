/** Why something is not done, with what a person does about it: a command, a condition behind `#` where there is one. */
export function refusal(why: string, next: string): string {
  return `${why}; next: ${next}`
}
