import { describe, expect, it } from 'vitest';

import { readQuery } from './http-query.ts';

const values = (query: string): unknown => {
  const read = readQuery(query, ['room', 'since']);
  return read.ok ? Object.fromEntries(read.values) : read.code;
};

describe('a query', () => {
  it('is read as forms write it, and what nobody asks for means nothing', () => {
    expect(values('')).toEqual({});
    expect(values('room=A+b%20%2B%C3%A9&x=%ff&x&%ff=1')).toEqual({ room: 'A b +é' });
    expect(values('since&room=a=b')).toEqual({ since: '', room: 'a=b' });
    expect(values('__proto__=1&constructor=2')).toEqual({});
  });

  it.each(['room=%ff', 'room=%C3', 'room=%', 'room=a&room=b', 'room=a&%72oom=a'])('is refused where it leaves a doubt (%s)', (query) => {
    expect(values(query)).toBe('REQUEST_MALFORMED');
  });
});
