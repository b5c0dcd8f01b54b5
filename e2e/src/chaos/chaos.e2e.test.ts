import { stopAll, trackResources } from '@carillon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { seedsOf } from '../seeded-random.ts';
import { runChaos } from './run-chaos.ts';

/** A short run; `npm run chaos` is the long one. */
const DURATION_MS = 15_000;
/** A matter of seconds (the figures tell); this leaves room for a machine that has other things to do. */
const RECOVER_WITHIN_MS = 100_000;

let released: ReturnType<typeof trackResources>;
beforeEach(() => {
  released = trackResources();
});
afterEach(async () => {
  await stopAll();
  await released();
});

describe('durable rooms under faults', () => {
  it.each(seedsOf([11]).flatMap((seed) => [['embedded', seed], ['cluster', seed]] as const))('lose nothing that was acked, and repeat and reorder nothing: %s, seed %i', async (kind, seed) => {
    const { violations, ...report } = await runChaos({ kind, seed, durationMs: DURATION_MS, recoverWithinMs: RECOVER_WITHIN_MS });
    process.stdout.write(`${JSON.stringify({ case: 'chaos', ...report, violations: violations.length })}\n`);
    expect(violations).toEqual([]);
    expect(report.faults).toBeGreaterThan(0);
    expect(report.acked).toBeGreaterThan(0);
  });
});
