import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { chainGaps, joinGaps } from './gaps.ts';

describe('gaps', () => {
  it('of one reason are joined where they overlap or touch', () => {
    expect(joinGaps([{ from: 5, to: 6, reason: 'retention' }, { from: 1, to: 2, reason: 'retention' }, { from: 3, to: 5, reason: 'retention' }, { from: 6, to: 6, reason: 'damaged' }, { from: 9, to: 9, reason: 'retention' }])).toEqual([
      { from: 1, to: 6, reason: 'retention' }, { from: 6, to: 6, reason: 'damaged' }, { from: 9, to: 9, reason: 'retention' },
    ]);
  });

  it('of a room cover all that is gone and nothing that is there', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { minLength: 1 }), fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }), fc.nat(60), fc.nat(60), (some, isThere, one, other) => {
        const seqs = some.sort((a, b) => a - b);
        const [after, upTo] = [Math.min(one, other), Math.max(one, other)];
        const links = seqs.map((seq, index) => ({ seq, prevSeq: seqs[index - 1] ?? 0 })).filter(({ seq }, index) => isThere[index] === true && seq > after);
        const gaps = chainGaps(links, { after, upTo, last: seqs.at(-1) ?? 0 });
        const covered = (seq: number): boolean => gaps.some(({ from, to }) => from <= seq && seq <= to);

        for (const [index, seq] of seqs.entries()) if (seq > after && seq <= upTo && isThere[index] === true) expect(covered(seq)).toBe(false);
        // Nothing tells of the last ones before `upTo` when all behind them is gone too, except that the room goes on.
        for (const [index, seq] of seqs.entries()) if (seq > after && seq <= upTo && isThere[index] !== true) expect(covered(seq)).toBe(true);
        for (const { from, to } of gaps) expect([from > after, to <= upTo]).toEqual([true, true]);
      }),
    );
  });
});
