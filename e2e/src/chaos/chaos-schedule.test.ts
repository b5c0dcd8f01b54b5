import { describe, expect, it } from 'vitest';

import { FAULTS, faultsOf, scheduleOf } from './chaos-schedule.ts';

const DURATION_MS = 240_000;

describe('a schedule of faults', () => {
  it('is the same for the same seed, in order of time, within its duration, and has all faults', () => {
    const options = { seed: 3, durationMs: DURATION_MS, faults: FAULTS };
    const schedule = scheduleOf(options);
    expect(scheduleOf(options)).toEqual(schedule);
    expect(scheduleOf({ ...options, seed: 4 })).not.toEqual(schedule);
    expect(schedule.map(({ atMs }) => atMs)).toEqual(schedule.map(({ atMs }) => atMs).sort((left, right) => left - right));
    expect(schedule.at(-1)?.atMs).toBeLessThan(DURATION_MS);
    expect(new Set(schedule.map(({ fault }) => fault)).size).toBe(FAULTS.length);
  });

  it('has only the faults that are asked for', () => {
    const schedule = scheduleOf({ seed: 3, durationMs: DURATION_MS, faults: ['full-disk', 'step-clock'] });
    expect(new Set(schedule.map(({ fault }) => fault))).toEqual(new Set(['full-disk', 'step-clock']));
  });

  it('parts a server for longer than it takes to miss it, now and then, and freezes nobody for so long', () => {
    const lasts = scheduleOf({ seed: 3, durationMs: DURATION_MS, faults: FAULTS });
    const longest = (wanted: string): number => Math.max(...lasts.filter(({ fault }) => fault === wanted).map(({ forMs }) => forMs));
    expect(longest('partition-log-server')).toBeGreaterThan(4_000);
    expect(longest('freeze-hub')).toBeLessThanOrEqual(3_000);
  });
});

describe('the faults of a world', () => {
  it('are those that were asked for, in their order, without servers where there are none', () => {
    expect(faultsOf('cluster')).toEqual(FAULTS);
    expect(faultsOf('embedded').filter((fault) => fault.endsWith('log-server'))).toEqual([]);
    expect(faultsOf('embedded', ['step-clock', 'kill-log-server', 'kill-hub'])).toEqual(['step-clock', 'kill-hub']);
  });
});
