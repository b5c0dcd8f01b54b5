import { expect, test } from 'vitest';

import { DrainPace } from './drain-pace.ts';

/** How many go in so many milliseconds, asked every millisecond as often as they may. */
function gone(pace: DrainPace, ms: number): number {
  let count = 0;
  for (let nowMs = 0; nowMs < ms; nowMs += 1) while (count < 1_000_000 && pace.take(nowMs)) count += 1;
  return count;
}

test.each([1, 50, 500, 20_000])('%i a second go in a second, give or take a burst', (perSecond) => {
  const count = gone(new DrainPace(perSecond, 0), 10_000);
  expect(count).toBeGreaterThanOrEqual(perSecond * 9.9 - 1);
  expect(count).toBeLessThanOrEqual(perSecond * 10.1 + 1);
});

test('a pause is not made up for', () => {
  const pace = new DrainPace(1_000, 0);
  while (pace.take(0));
  let count = 0;
  while (pace.take(60_000)) count += 1;
  expect(count).toBe(20);
});

test('says how long to wait', () => {
  const pace = new DrainPace(10, 0);
  expect([pace.take(0), pace.take(0), pace.waitMs(), pace.take(99), pace.take(100)]).toEqual([true, false, 100, false, true]);
});

test('0 is no pace', () => {
  const pace = new DrainPace(0, 0);
  expect(Array.from({ length: 100 }, () => pace.take(0)).every(Boolean)).toBe(true);
});
