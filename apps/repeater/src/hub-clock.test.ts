import { expect, test } from 'vitest';

import { HubClock } from './hub-clock.ts';

test('knows nothing before it was told, and what it was told then', () => {
  const clock = new HubClock({ clock: () => 1_000, now: () => 10 });
  expect(clock.aheadMs).toBeUndefined();
  clock.measured(250.4);
  expect(clock.aheadMs).toBe(250);
  clock.measured(-3);
  expect(clock.aheadMs).toBe(-3);
});

test('stays right when this machine\'s clock is set meanwhile', () => {
  let wallMs = 1_000;
  let monotonicMs = 10;
  const clock = new HubClock({ clock: () => wallMs, now: () => monotonicMs });
  clock.measured(3_600_000);
  const hubTimeMs = (): number => wallMs + (clock.aheadMs ?? NaN);
  expect(hubTimeMs()).toBe(3_601_000);
  wallMs += 500;
  monotonicMs += 500;
  expect(hubTimeMs()).toBe(3_601_500);
  wallMs += 3_600_000;
  expect([clock.aheadMs, hubTimeMs()]).toEqual([0, 3_601_500]);
  wallMs -= 7_200_000;
  expect(hubTimeMs()).toBe(3_601_500);
});
