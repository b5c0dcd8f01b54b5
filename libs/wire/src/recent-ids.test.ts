import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { RecentIds } from './recent-ids.ts';

describe('recent ids', () => {
  it('are new once', () => {
    const ids = new RecentIds(4);
    expect([ids.add('a'), ids.add('a'), ids.add('b'), ids.add('a')]).toEqual([true, false, true, false]);
  });

  it('are known for at least a generation of later ids, and forgotten after two', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 20 }), fc.nat({ max: 60 }), (generationMax, before) => {
      const ids = new RecentIds(generationMax);
      for (let at = 0; at < before; at += 1) ids.add(`before ${at}`);
      expect(ids.add('x')).toBe(true);
      for (let at = 0; at < generationMax; at += 1) expect(ids.add(`after ${at}`)).toBe(true);
      expect(ids.add('x')).toBe(false);
      for (let at = 0; at < 2 * generationMax; at += 1) ids.add(`later ${at}`);
      expect(ids.add('x')).toBe(true);
    }));
  });
});
