import { describe, expect, it } from 'vitest';

import { formatPlace, readPlace, readPosition, readSince } from './log-position.ts';

describe('a position', () => {
  it('is read as it is shown, whatever the epoch looks like', () => {
    for (const epoch of ['e', 'lz3k-0a1b2c', 'A_b-1-2', '7', 'a--b', 'e'.repeat(128)]) expect(readPlace(formatPlace(epoch, 1_041))).toEqual({ seq: 1_041, epoch });
    expect(readPosition('1041')).toEqual({ seq: 1_041 });
    expect(readPlace('1041')).toBeUndefined();
  });

  it.each(['', '-', '-5', '--5', '1.5', '1e3', '007', '99999999999999999', 'e-', 'e--', 'e--5', 'lz3k-0a1b2c--5', '-e-5', 'e-05', 'e -5', ' 5', '5 ', '5\n', 'ё-5', `${'e'.repeat(129)}-5`, '01JD6Q3V7E8ZK4M2N5P6R7S8T9'])('is not %j', (text) => {
    expect(readPosition(text)).toBeUndefined();
  });
});

describe('since', () => {
  it.each([
    ['e-7', { seq: 7, epoch: 'e' }], ['seq:0', { seq: 0 }], ['seq:41', { seq: 41 }], ['last:0', { last: 0 }], ['last:100', { last: 100 }], ['at:0', { at: 0 }], ['at:1795608000000', { at: 1_795_608_000_000 }],
    ['at:2026-11-21T12:00:00Z', { at: Date.UTC(2026, 10, 21, 12) }], ['at:2026-11-21T12:00:00.250+01:00', { at: Date.UTC(2026, 10, 21, 11, 0, 0, 250) }], ['at:2026-11-21T12:00:00 01:00', { at: Date.UTC(2026, 10, 21, 11) }],
  ])('%s is understood', (text, since) => expect(readSince(text)).toEqual(since));

  it.each(['', '7', 'now', 'seq', 'seq:', 'seq:-1', 'seq:1.5', 'seq:x', 'seq:e-7', 'last:-1', 'last:all', 'at:', 'at:-1', 'at:today', 'at:2026-11-21', 'at:2026-13-01T00:00:00Z', 'at:1960-01-01T00:00:00Z', 'SEQ:1', 'before:1', ':1', 'seq:9007199254740993'])('%j is not', (text) => {
    expect(readSince(text)).toBeUndefined();
  });
});
