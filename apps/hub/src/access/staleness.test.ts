import { describe, expect, it } from 'vitest';

import { Staleness } from './staleness.ts';

function setUp(afterMs = 1_500) {
  let nowMs = 1_000;
  const told: string[] = [];
  const staleness = new Staleness({ afterMs, now: () => nowMs, changed: (stale, why) => told.push(stale ? why : 'current') });
  return {
    staleness, told,
    /** Time passes; the bus answers all the while when it is said so. */
    pass: (ms: number, { answers = false } = {}) => {
      for (let left = ms; left > 0; left -= 100) {
        nowMs += Math.min(100, left);
        if (answers) staleness.roundTrip(nowMs);
        else staleness.look();
      }
    },
    now: () => nowMs,
  };
}

describe('a hub', () => {
  it('is given time to hear for the first time, and stale when it has not', () => {
    const { staleness, told, pass } = setUp();
    pass(1_400, { answers: true });
    expect([staleness.isStale, staleness.dueInMs]).toEqual([false, 100]);
    pass(100, { answers: true });
    expect(told).toEqual(['the bus does not answer']);
    staleness.synced();
    expect(staleness.isStale).toBe(true);
    pass(100, { answers: true });
    expect([told, staleness.isStale]).toEqual([['the bus does not answer', 'current'], false]);
  });

  it('is current as long as the bus answers, also when config-manager says nothing', () => {
    const { staleness, told, pass } = setUp();
    staleness.synced();
    pass(60_000, { answers: true });
    expect(told).toEqual([]);
    expect(staleness.dueInMs).toBe(1_500);
  });

  it('counts from when the last round trip began, not from when it was answered', () => {
    const { staleness, told, pass, now } = setUp();
    staleness.synced();
    const began = now();
    pass(400);
    staleness.roundTrip(began);
    pass(1_100);
    expect(told).toEqual(['the bus does not answer']);
  });

  it('does not take an answer for hearing before all has come again after a loss', () => {
    const { staleness, told, pass } = setUp();
    staleness.synced();
    pass(1_000, { answers: true });
    staleness.lost();
    pass(1_500, { answers: true });
    expect(told).toEqual(['the bus does not answer']);
    staleness.synced();
    pass(100, { answers: true });
    expect(told.at(-1)).toBe('current');
  });

  it('is stale when what was handed over does not come, and not when it comes late while more is handed over', () => {
    const { staleness, told, pass } = setUp();
    staleness.synced();
    for (let seq = 1; seq <= 50; seq += 1) {
      staleness.said(seq);
      pass(500, { answers: true });
      staleness.applied(seq - 1);
    }
    expect(told).toEqual([]);
    staleness.said(50);
    pass(1_000, { answers: true });
    expect(told).toEqual(['changes that were made have not come']);
    staleness.applied(49);
    expect(staleness.isStale).toBe(true);
    staleness.applied(50);
    expect(told.at(-1)).toBe('current');
  });

  it('is not behind a config-manager that begins anew', () => {
    const { staleness, told, pass } = setUp();
    staleness.synced();
    staleness.said(10);
    staleness.said(0);
    pass(5_000, { answers: true });
    expect(told).toEqual([]);
  });

  it('is stale at once while it has a record it cannot read', () => {
    const { staleness, told } = setUp();
    staleness.synced();
    for (const record of ['a', 'b', 'a']) staleness.unreadable(record);
    for (const record of ['a', 'c', 'b']) staleness.readable(record);
    expect(told).toEqual(['a record of the access feed cannot be read', 'current']);
  });

  it('is never stale where that is switched off', () => {
    const { staleness, told, pass } = setUp(0);
    staleness.unreadable('a');
    staleness.said(7);
    pass(60_000);
    expect([told, staleness.dueInMs]).toEqual([[], undefined]);
  });
});
