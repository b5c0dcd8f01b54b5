import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { createEventIds, isUlid } from './index.ts';

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const timeOf = (id: string): number => [...id.slice(0, 10)].reduce((value, digit) => value * 32 + ALPHABET.indexOf(digit), 0);
const random40 = (): number => Math.floor(Math.random() * 2 ** 40);
const isSorted = (ids: readonly string[]): boolean => ids.every((id, at) => at === 0 || (ids[at - 1] ?? '') < id);

/** The largest time of a ULID, in the year 10889. */
const LAST_MS = 2 ** 48 - 1;

describe('event ids', () => {
  it('are ULIDs of the moment they were given', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: LAST_MS }), fc.integer({ min: 0, max: 2 ** 40 - 1 }), (ms, random) => {
        const id = createEventIds({ now: () => ms, random40: () => random })();
        expect(isUlid(id)).toBe(true);
        expect(timeOf(id)).toBe(ms);
      }),
    );
  });

  it('sort in the order they were given, whatever the clock does', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: LAST_MS }), { minLength: 2, maxLength: 50 }), fc.integer({ min: 0, max: 2 ** 40 - 1 }), (clock, random) => {
        let at = 0;
        const next = createEventIds({ now: () => clock[at++] ?? 0, random40: () => random });
        const ids = clock.map(() => next());
        expect(isSorted(ids)).toBe(true);
        expect(ids.map(timeOf)).toEqual(clock.map((_, index) => Math.max(...clock.slice(0, index + 1))));
      }),
      { numRuns: 500 },
    );
  });

  it('sort across the point where the counter carries', () => {
    const next = createEventIds({ now: () => 1_795_264_000_000, random40: () => 2 ** 40 - 1 });
    let last = '';
    let wrong = 0;
    for (let count = 0; count < 2 ** 20 + 10; count += 1) {
      const id = next();
      if (id <= last || id.length !== 26) wrong += 1;
      last = id;
    }
    expect(wrong).toBe(0);
    expect(isUlid(last)).toBe(true);
  });

  it('of two generators in the same millisecond are never the same', () => {
    const sources = { now: () => 1_795_264_000_000, random40 };
    const generators = [createEventIds(sources), createEventIds(sources)];
    const ids = new Set<string>();
    for (let count = 0; count < 100_000; count += 1) for (const next of generators) ids.add(next());
    expect(ids.size).toBe(200_000);
  });

  it('of a generator that starts over in the same millisecond are new', () => {
    const sources = { now: () => 1_795_264_000_000, random40 };
    const ids = new Set(Array.from({ length: 1_000 }, () => createEventIds(sources)()));
    expect(ids.size).toBe(1_000);
  });
});

describe('a ULID', () => {
  it.each(['01JD6Q3V7E8ZK4M2N5P6R7S8T9', '7ZZZZZZZZZZZZZZZZZZZZZZZZZ', '00000000000000000000000000'])('is %s', (text) => expect(isUlid(text)).toBe(true));
  it.each(['', '01JD6Q3V7E8ZK4M2N5P6R7S8T', '01JD6Q3V7E8ZK4M2N5P6R7S8T9X', '81JD6Q3V7E8ZK4M2N5P6R7S8T9', '01jd6q3v7e8zk4m2n5p6r7s8t9', '01JD6Q3V7E8ZK4M2N5P6R7S8TI', '01JD6Q3V7E8ZK4M2N5P6R7S8T9\n'])('is not %j', (text) => expect(isUlid(text)).toBe(false));
});
