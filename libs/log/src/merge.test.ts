import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { mergeSequences, type SeqSource } from './merge.ts';

const from = (seqs: readonly number[]): SeqSource => {
  let at = 0;
  return () => seqs[at++];
};

describe('a merge', () => {
  it('gives what its sources have, in order, rising or falling', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(fc.nat(1_000), fc.nat(7)), { selector: ([seq]) => seq }), (pairs) => {
        const sources = Array.from({ length: 8 }, (_, source) => pairs.filter(([, of]) => of === source).map(([seq]) => seq).sort((one, other) => one - other));
        const all = pairs.map(([seq]) => seq).sort((one, other) => one - other);

        expect([...mergeSequences(sources.map(from))]).toEqual(all);
        expect([...mergeSequences(sources.map((source) => from([...source].reverse())), 'falling')]).toEqual(all.reverse());
      }),
    );
  });

  it('asks no source for more than it gives', () => {
    const asked: number[] = [];
    const source = (name: number): SeqSource => () => (asked.push(name), asked.length * 10);
    const merge = mergeSequences([source(1), source(2)]);
    merge.next();
    merge.next();

    expect(asked).toEqual([1, 2, 1]);
  });
});
