import { describe, expect, it } from 'vitest';

import { DueTimes, type LogClock } from './due-times.ts';

/** A clock that stands still until it is told to go on. */
function standing(): LogClock & { go(toMs: number): void; readonly timers: number } {
  let nowMs = 0;
  let timers: { readonly atMs: number; readonly run: () => void }[] = [];
  return {
    // Nobody asks what time it is: only how much has passed.
    now: () => Number.NaN,
    elapsed: () => nowMs,
    after: (delayMs, run) => {
      const timer = { atMs: nowMs + delayMs, run };
      timers.push(timer);
      return () => (timers = timers.filter((one) => one !== timer));
    },
    go: (toMs) => {
      nowMs = toMs;
      for (const due of timers.filter(({ atMs }) => atMs <= toMs)) {
        timers = timers.filter((one) => one !== due);
        due.run();
      }
    },
    get timers() {
      return timers.length;
    },
  };
}

describe('due times', () => {
  it('run when they are due, soonest first, on one timer', () => {
    const clock = standing();
    const due = new DueTimes(clock);
    const ran: number[] = [];
    for (const delayMs of [50, 10, 30, 20, 40]) due.add(delayMs, () => ran.push(delayMs));
    expect(clock.timers).toBe(1);
    clock.go(9);
    expect(ran).toEqual([]);
    clock.go(30);
    expect(ran).toEqual([10, 20, 30]);
    clock.go(100);

    expect(ran).toEqual([10, 20, 30, 40, 50]);
    expect(clock.timers).toBe(0);
  });

  it('may be added while others run, and are forgotten when they are closed', () => {
    const clock = standing();
    const due = new DueTimes(clock);
    const ran: string[] = [];
    due.add(10, () => due.add(10, () => ran.push('second')));
    due.add(100, () => ran.push('never'));
    clock.go(10);
    clock.go(20);
    due.close();
    due.add(1, () => ran.push('late'));
    clock.go(1_000);

    expect(ran).toEqual(['second']);
    expect(clock.timers).toBe(0);
  });
});
