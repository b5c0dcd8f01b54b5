import { matchesPattern } from '@carillon/wire';
import { describe, expect, it } from 'vitest';

import { readEventPatterns, showEventPatterns } from './event-patterns.ts';

const rooms = (names: readonly string[]): readonly string[] => {
  const read = readEventPatterns(names);
  if (!read.ok) throw new Error(`refused at ${read.index}`);
  return read.rules.map(({ room }) => room);
};

describe('event patterns', () => {
  it.each([
    ['order/created', 'order/created'], ['order/*', 'order/**'], ['*', '*'], ['*/created', '*/created'], ['gms/*/report/*', 'gms/*/report/**'], ['order*', 'order*'], ['ITB-*', 'ITB-*'],
  ])('%s is a rule for the rooms %s, and shown as it was', (wire, room) => {
    expect(rooms([wire])).toEqual([room]);
    expect(showEventPatterns([{ room }])).toEqual([wire]);
  });

  it('lets a final * stand for all that follows, and one before it for a segment', () => {
    const [rest = '', middle = ''] = rooms(['order/*', 'order/*/paid']);
    expect(matchesPattern(rest, 'order/eu/paid')).toBe(true);
    expect(matchesPattern(rest, 'orders')).toBe(false);
    expect(matchesPattern(middle, 'order/eu/paid')).toBe(true);
    expect(matchesPattern(middle, 'order/eu/at/paid')).toBe(false);
  });

  it.each([[''], ['a/**/b'], ['a\nb'], ['x'.repeat(257)], ['a\u0000']])('refuses %j, and says where it stands', (name) => {
    expect(readEventPatterns(['good', name])).toEqual({ ok: false, index: 1 });
  });

  it('shows no rule wider than it is', () => {
    expect(showEventPatterns([{ room: 'order/*' }, { room: '**', event: 'power' }, { room: 'a/**' }])).toEqual(['a/*']);
  });
});
