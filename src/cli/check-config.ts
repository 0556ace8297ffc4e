import { ConfigError } from '../config/config-error.ts'
import type { Candidate } from '../config/connection.ts'
import { tokenProblem } from '../config/control.ts'
import { type ConfigSources, type Origin, readConfig } from '../config/load.ts'
import { routingKeyProblem, secretProblem, webAddressProblem } from '../config/notify.ts'
import type { Config } from '../config/schema.ts'
import { readSecret, type SecretSource } from '../config/secret-file.ts'
import type { Environment } from '../config/url.ts'
import { resolveTarget } from '../db/target.ts'
import { CitusHaError } from '../model/failure.ts'
import { formatAddress } from '../model/node.ts'
import { describeError } from '../walk/describe-error.ts'

/** What a configuration is found to be, for people and as JSON; nothing of it is secret. */
export interface Checked {
  readonly file: Origin['file']
  readonly coordinators: {
    readonly by: Origin['coordinators'] | null
    /** `user@host:port/database`. */
    readonly candidates: readonly string[]
  }
  /** A line each; none: it is right. */
  readonly problems: readonly string[]
  readonly warnings: readonly string[]
}

/**
 * Reads a configuration and every file that it names, and asks no server.
 * @param file looked at for itself: no variable of the environment stands in for its coordinators
 */
export async function checkConfig(sources: ConfigSources, file: string | null): Promise<Checked> {
  const { CITUS_HA_COORDINATOR, ...others } = sources.env
  const given = file === null ? sources : { ...sources, file, env: others }
  try {
    const { config, origin, env, warnings } = await readConfig(given)
    const targets = await Promise.all(config.coordinators.map((each) => checkCandidate(each, env)))
    const problems = [...targets.flatMap(({ problem }) => problem ?? []), ...(await problemsOfFiles(config))]
    return {
      file: origin.file,
      coordinators: { by: origin.coordinators, candidates: targets.map(({ says }) => says) },
      problems: [...new Set(problems)],
      warnings: [...new Set([...warnings, ...targets.flatMap((each) => each.warnings)])],
    }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const none = { by: null, candidates: [] }
    return { file: null, coordinators: none, problems: describeError(error).lines, warnings: [] }
  }
}

interface CheckedCandidate {
  readonly says: string
  readonly problem: string | null
  readonly warnings: readonly string[]
}

async function checkCandidate(
  { address, database, settings }: Candidate,
  env: Environment,
): Promise<CheckedCandidate> {
  const at = formatAddress(address)
  try {
    const target = await resolveTarget(address, database, settings, env)
    const says = `${target.user}@${at}/${target.database}`
    return { says, problem: null, warnings: target.warnings }
  } catch (error) {
    return { says: at, problem: refusal(error), warnings: [] }
  }
}

/** One after the other: what is wrong is said in the same order each time. */
async function problemsOfFiles({ control, notify }: Config): Promise<string[]> {
  const checks = [
    ...(control?.token ? [secret('control.tokenFile', control.token, tokenProblem)] : []),
    ...(control?.listen ? [async () => await readControl(control)] : []),
    ...(notify?.webhooks ?? []).map((each, n) =>
      secret(`notify.webhooks[${n}].secretFile`, each.secret, secretProblem),
    ),
    ...(notify?.slack ?? []).map((each, n) =>
      secret(`notify.slack[${n}].urlFile`, each.url, webAddressProblem),
    ),
    ...(notify?.pagerduty ?? []).map((each, n) =>
      secret(`notify.pagerduty[${n}].routingKeyFile`, each.routingKey, routingKeyProblem),
    ),
  ]
  const problems: string[] = []
  for (const check of checks) {
    await check().catch((error: unknown) => void problems.push(refusal(error)))
  }
  // What is read for the listener as well is said once, with its key.
  return problems.filter((each) => !problems.some((other) => other.endsWith(`: ${each}`)))
}

async function readControl(control: NonNullable<Config['control']>): Promise<void> {
  // Loaded here: no other command that has a configuration should wait for it.
  const { readFiles } = await import('../http/control/serve.ts')
  await readFiles(control)
}

/** @param key of the file, as the configuration names it */
function secret(
  key: string,
  source: SecretSource,
  problem: (text: string) => string | null,
): () => Promise<unknown> {
  return () =>
    readSecret(source, problem).catch((error: unknown) => {
      throw error instanceof ConfigError
        ? new ConfigError(`${key}: ${error.message}`, { cause: error })
        : error
    })
}

/** @throws what is no matter of the configuration */
function refusal(error: unknown): string {
  if (error instanceof ConfigError || error instanceof CitusHaError) return describeError(error).line
  throw error
}
