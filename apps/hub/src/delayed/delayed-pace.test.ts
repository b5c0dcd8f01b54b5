import { describe, expect, it } from 'vitest';

import { DelayedPace } from './delayed-pace.ts';

function paceAt({ waiting = 0 } = {}) {
  const world = { nowMs: 1_000_000, waiting };
  const pace = new DelayedPace({ now: () => world.nowMs, waiting: () => world.waiting });
  let last = 0;
  const come = (count: number): void => {
    for (let n = 0; n < count; n += 1) pace.seen((last += 1));
  };
  return { world, pace, come };
}

describe('how often delayed events are looked at', () => {
  it('is the less often the more of them wait', () => {
    const { pace, world } = paceAt();
    expect(pace.periodMs).toBe(30_000);
    world.waiting = 20_000;
    expect(pace.periodMs).toBe(120_000);
    world.waiting = 1_000_000;
    expect(pace.periodMs).toBe(300_000);
  });

  it('is soon enough that what comes meanwhile does not fill what a consumer remembers', () => {
    const { pace, world, come } = paceAt({ waiting: 50_000 });
    come(5_000); // 500 a second
    expect(pace.periodMs * 0.5).toBeLessThan(16_384 * 2);
    world.nowMs += 10_000;
    come(1);
    expect(pace.periodMs).toBeCloseTo(32_768, -1);
    world.nowMs += 20_000;
    expect(pace.periodMs).toBe(300_000);
    come(1_000_000);
    expect(pace.periodMs).toBe(10_000);
  });
});

describe('a delayed event', () => {
  it('is overtaken when a quarter of what a consumer remembers has come behind it', () => {
    const { pace, come } = paceAt();
    come(1);
    expect(pace.seen(1)).toBe(false);
    come(16_382);
    expect(pace.seen(1)).toBe(false);
    come(2);
    expect(pace.seen(1)).toBe(true);
    pace.forget(1);
    expect(pace.seen(1)).toBe(false);
  });

  it('is forgotten with all others rather than that memory grows', () => {
    const { pace, come } = paceAt();
    come(131_073);
    expect(pace.seen(1)).toBe(false);
  });
});
