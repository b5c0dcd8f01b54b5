import { describe, expect, it } from 'vitest';

import { LogError } from './event-log.ts';
import { damagedFault, damageOf, storeFault } from './log-faults.ts';

/** What lmdb throws: the code of LMDB or of the system, and its text. */
const thrown = (code: number, text: string): Error => Object.assign(new Error(text), { code });

describe('a fault of the store', () => {
  it.each([
    // LMDB 0.9.90 of lmdb 3.x grows its map when it is full; one that is bound by its owner says so.
    [-30_792, 'MDB_MAP_FULL: Environment mapsize limit reached'],
    [28, 'No space left on device'],
    [122, 'Disk quota exceeded'],
    [69, 'Disk quota exceeded'],
    [27, 'File too large'],
  ])('that is for want of room (%i, %s) is LOG_FULL, by its code or by its text', (code, text) => {
    for (const error of [thrown(code, 'Commit failed'), new Error(`Commit failed: ${text}`)]) expect(storeFault(error)).toMatchObject({ code: 'LOG_FULL', cause: error });
  });

  it.each([
    [-30_796, 'MDB_CORRUPTED: Located page was wrong type'],
    [5, 'Input/output error'],
    [12, 'Cannot allocate memory'],
  ])('of any other kind (%i, %s) is LOG_UNAVAILABLE', (code, text) => {
    expect(storeFault(thrown(code, text))).toMatchObject({ code: 'LOG_UNAVAILABLE', message: expect.stringContaining(text) as unknown });
    expect(storeFault(text)).toMatchObject({ code: 'LOG_UNAVAILABLE', message: expect.stringContaining(text) as unknown });
  });

  it('that the log knows already is left as it is, and only damage lets a log be set aside', () => {
    const known = new LogError('EVENT_ID_REUSED', 'other');
    expect(storeFault(known)).toBe(known);
    expect([damageOf(damagedFault('/log', 'a page is gone')), damageOf(known), damageOf(thrown(28, 'full'))]).toEqual(['a page is gone', undefined, undefined]);
  });
});
