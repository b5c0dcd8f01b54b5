import type { ConfigProblem } from './load-config.ts';

/** sysexits.h EX_CONFIG: a supervisor can tell a wrong configuration from a crash. */
const EXIT_CONFIG = 78;

/**
 * Prints every problem on standard error and exits with code 78. It leaves at once, which is right only here: nothing was started.
 */
export function exitWithConfigProblems(problems: readonly ConfigProblem[]): never {
  const lines = problems.map(({ env, message }) => `  ${env}: ${message}\n`);
  process.stderr.write(`CONFIG_INVALID: ${problems.length === 1 ? 'one problem' : `${problems.length} problems`} in the environment; nothing was started.\n${lines.join('')}`);
  process.exit(EXIT_CONFIG);
}
