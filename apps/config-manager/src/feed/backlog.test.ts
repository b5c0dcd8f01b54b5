import { describe, expect, it } from 'vitest';

import { Backlog } from './backlog.ts';

describe('Backlog', () => {
  it('is at the head when nothing is pending', () => {
    const backlog = new Backlog();
    backlog.look(17, undefined, 1_000);

    expect(backlog).toMatchObject({ position: 17, pending: 0 });
    expect(backlog.oldestMs(9_000)).toBe(0);
  });

  it('ages from the first sight of a head at or above the oldest position', () => {
    const backlog = new Backlog();
    backlog.look(5, 4, 1_000);
    backlog.look(9, 4, 2_000);

    expect(backlog).toMatchObject({ position: 3, pending: 6 });
    expect(backlog.oldestMs(2_500)).toBe(1_500);
    backlog.look(9, 7, 3_000);
    expect(backlog.oldestMs(3_000)).toBe(1_000);
    backlog.look(9, undefined, 4_000);
    expect(backlog.oldestMs(4_000)).toBe(0);
  });

  it('stays small while it grows old', () => {
    const backlog = new Backlog();
    for (let head = 1; head <= 50_000; head += 1) backlog.look(head, 1, head);

    expect(backlog.oldestMs(60_000)).toBe(59_999);
  });
});
