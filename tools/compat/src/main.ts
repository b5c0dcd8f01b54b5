import { CHECKS, type Check } from './checks.ts';
import { readOptions, type CompatOptions } from './options.ts';
import { Stage } from './stage.ts';

/**
 * `npm run compat -- --hub <program> --repeater <program> --messenger <program>` runs the original programs beside ours
 * (README.md). One JSON object a check on standard output, then `N passed, N failed`; exit code 1 when one failed.
 */
interface Outcome {
  readonly check: string;
  readonly ok: boolean;
  readonly ms: number;
  readonly detail: string | undefined;
}

async function outcomeOf({ name, run }: Check, options: CompatOptions): Promise<Outcome> {
  const stage = new Stage(options);
  const startedAtMs = performance.now();
  const outcome = (ok: boolean, detail: string | undefined): Outcome => ({ check: name, ok, ms: Math.round(performance.now() - startedAtMs), detail });
  try {
    return outcome(true, await run(stage));
  } catch (error) {
    return outcome(false, error instanceof Error ? error.message : String(error));
  } finally {
    await stage.close();
  }
}

let options: CompatOptions;
try {
  options = readOptions(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(64); // sysexits.h EX_USAGE
}
let failed = 0;
let passed = 0;
for (const check of CHECKS.filter(({ name }) => name.includes(options.only))) {
  const outcome = await outcomeOf(check, options);
  if (outcome.ok) passed += 1;
  else failed += 1;
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
