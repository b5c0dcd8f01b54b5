import { describe, expect, it } from 'vitest';

import { excessCount, policyFor } from './retention.ts';

const policy = (pattern: string, maxAgeMs: number | null = null, maxBytes: number | null = null) => ({ pattern, maxAgeMs, maxBytes });
const aged = (...storedAtMs: (number | undefined)[]) => storedAtMs.map((at) => ({ bytes: 10, storedAtMs: at }));

describe('retention', () => {
  it('takes the longest pattern that selects a room, of equals the first', () => {
    const policies = [policy('*'), policy('a-*'), policy('*-1'), policy('b-**')];

    expect(['a-1', 'a-2', 'b-1', 'c'].map((room) => policyFor(room, policies)?.pattern)).toEqual(['a-*', 'a-*', 'b-**', '*']);
    expect(policyFor('c', [policy('a')])).toBeUndefined();
  });

  it.each([
    ['what is older than allowed', policy('*', 100), aged(1, 899, 900, 2_000), 40, 2],
    ['the oldest until the rest fits', policy('*', null, 25), aged(1, 2, 3, 4), 40, 2],
    ['nothing of what may stay', policy('*', null, 40), aged(1, 2, 3, 4), 40, 0],
    ['everything, if none fits', policy('*', null, 0), aged(1, 2), 20, 2],
    ['whichever is more', policy('*', 100, 35), aged(1, 2, 3, 1_000), 40, 3],
    ['a damaged one with what is behind it', policy('*', 100), aged(undefined, 1, undefined, 1_000), 40, 2],
    ['a damaged one when the room is too large', policy('*', null, 15), aged(undefined, 1_000), 20, 1],
  ])('deletes %s', (_name, given, oldest, bytes, count) => expect(excessCount(oldest, bytes, { policy: given, nowMs: 1_000 })).toBe(count));
});
