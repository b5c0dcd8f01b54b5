import { describe, expect, it } from 'vitest';

import { UsedKeys } from './used-keys.ts';

describe('used keys', () => {
  it('are reported once, with the last time, and again only when used again', () => {
    let nowMs = 1;
    const used = new UsedKeys(() => nowMs);
    used.note('a');
    nowMs = 2;
    for (const id of ['b', 'a']) used.note(id);
    const reports: unknown[] = [];
    const take = (piece: unknown): boolean => reports.push(piece) > 0;
    used.report(take);
    used.report(take);
    expect(reports).toEqual([[{ id: 'a', atMs: 2 }, { id: 'b', atMs: 2 }]]);
    used.note('a');
    used.report(take);
    expect(reports).toHaveLength(2);
  });

  it('are kept while nobody takes the report, never more than 10,000, and reported in pieces', () => {
    const used = new UsedKeys(() => 1);
    for (let n = 0; n < 12_000; n += 1) used.note(`${n}`);
    used.report(() => false);
    const sizes: number[] = [];
    used.report((piece) => sizes.push(piece.length) > 0);
    expect(sizes).toEqual(Array.from({ length: 10 }, () => 1_000));
    used.note('11999');
    used.report((piece) => sizes.push(piece.length) > 0);
    expect(sizes.at(-1)).toBe(1);
  });
});
