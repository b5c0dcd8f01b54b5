import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { TokenBucket } from './token-bucket.ts';

describe('a token bucket', () => {
  it('lets a burst of one second through, then the rate', () => {
    const bucket = new TokenBucket({ perSecond: 10, nowMs: 0 });
    expect(Array.from({ length: 11 }, () => bucket.take(1, 0))).toEqual([...Array<boolean>(10).fill(true), false]);
    expect([bucket.take(1, 99), bucket.take(1, 100), bucket.take(1, 100)]).toEqual([false, true, false]);
    expect(Array.from({ length: 11 }, () => bucket.take(1, 60_000)).filter(Boolean)).toHaveLength(10);
  });

  it('takes nothing when it refuses', () => {
    const bucket = new TokenBucket({ perSecond: 10, nowMs: 0 });
    expect([bucket.take(8, 0), bucket.take(5, 0), bucket.take(2, 0)]).toEqual([true, false, true]);
  });

  it('lets one through that is larger than a burst, and has it paid back', () => {
    const bucket = new TokenBucket({ perSecond: 100, burst: 1_000, nowMs: 0 });
    expect([bucket.take(3_000, 0), bucket.take(1, 20_000), bucket.take(1, 20_010)]).toEqual([true, false, true]);
  });

  it('adds nothing when the clock goes back', () => {
    const bucket = new TokenBucket({ perSecond: 1, nowMs: 1_000 });
    expect([bucket.take(1, 1_000), bucket.take(1, 0), bucket.take(1, 1_999), bucket.take(1, 2_000)]).toEqual([true, false, false, true]);
  });

  it('changes its rate in place', () => {
    const bucket = new TokenBucket({ perSecond: 10, nowMs: 0 });
    bucket.take(10, 0);
    bucket.change({ perSecond: 1_000, nowMs: 0 });
    expect([bucket.take(1, 0), bucket.take(100, 100)]).toEqual([false, true]);
    bucket.change({ perSecond: 5, nowMs: 10_000 });
    expect([bucket.take(5, 10_000), bucket.take(1, 10_000)]).toEqual([true, false]);
  });

  it('never lets more through than the rate and a burst allow', () => {
    const steps = fc.array(fc.record({ waitMs: fc.nat(400), units: fc.integer({ min: 1, max: 30 }) }), { maxLength: 60 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 30, max: 60 }), steps, (perSecond, burst, taken) => {
        const bucket = new TokenBucket({ perSecond, burst, nowMs: 0 });
        let nowMs = 0;
        let through = 0;
        for (const { waitMs, units } of taken) {
          nowMs += waitMs;
          if (bucket.take(units, nowMs)) through += units;
          expect(through).toBeLessThanOrEqual(burst + (perSecond * nowMs) / 1_000 + 1e-6);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
