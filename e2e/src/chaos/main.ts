import { parseArgs } from 'node:util';

import { stopAll } from '@carillon/testing';

import { runChaos } from './run-chaos.ts';
import { FAULTS, faultsOf, WORLDS } from './chaos-schedule.ts';

/**
 * `npm run chaos -- [--seed 1] [--minutes 5] [--run-seconds 30] [--world embedded|cluster] [--faults a,b]`: run after run, each with the
 * next seed, until the minutes are over. One JSON object a run on standard output; exit code 1 when a run has a violation.
 */
const { values } = parseArgs({ options: { seed: { type: 'string', default: '1' }, minutes: { type: 'string', default: '5' }, 'run-seconds': { type: 'string', default: '30' }, world: { type: 'string' }, faults: { type: 'string' } } });
const wanted = oneOf(values.faults?.split(',') ?? FAULTS, FAULTS, '--faults');
const kinds = oneOf(values.world === undefined ? WORLDS : [values.world], WORLDS, '--world').filter((kind) => faultsOf(kind, wanted).length > 0);
if (kinds.length === 0) throw new RangeError('--faults: this world can have none of them');
const RECOVER_WITHIN_MS = 60_000;
/** "Everything flows again": of what the runs print. */
const RECOVERED_MAX_MS = 10_000;
const untilMs = performance.now() + Number(values.minutes) * 60_000;
let seed = Number(values.seed);
let runs = 0;
let failed = 0;
let slowestMs = 0;
let acked = 0;
while (performance.now() < untilMs) {
  for (const kind of kinds) {
    const report = await runChaos({ kind, seed, durationMs: Number(values['run-seconds']) * 1_000, recoverWithinMs: RECOVER_WITHIN_MS, faults: wanted }).catch((error: unknown) => error as Error);
    await stopAll();
    runs += 1;
    if (report instanceof Error) {
      failed += 1;
      process.stdout.write(`${JSON.stringify({ case: 'chaos', kind, seed, failed: report.message })}\n`);
      continue;
    }
    if (report.violations.length > 0) failed += 1;
    slowestMs = Math.max(slowestMs, report.recoveredMs);
    acked += report.acked;
    process.stdout.write(`${JSON.stringify({ case: 'chaos', ...report })}\n`);
  }
  seed += 1;
}
process.stdout.write(`${JSON.stringify({ case: 'chaos-summary', firstSeed: Number(values.seed), lastSeed: seed - 1, runs, acked, failed, slowestRecoveryMs: slowestMs, boundMs: RECOVERED_MAX_MS })}\n`);
process.exit(failed === 0 && slowestMs <= RECOVERED_MAX_MS ? 0 : 1);

function oneOf<Known extends string>(given: readonly string[], known: readonly Known[], option: string): readonly Known[] {
  return given.map((name) => {
    const found = known.find((one) => one === name);
    if (found === undefined) throw new RangeError(`${option}: ${name} is none of ${known.join(', ')}`);
    return found;
  });
}
