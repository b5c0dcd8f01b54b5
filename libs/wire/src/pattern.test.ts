import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { coversPattern, isAllPattern, isExactPattern, matchesPattern, patternFault, roomFault } from './index.ts';

/** The definition as a recursion that tries everything: for short inputs only. */
function selects(pattern: string, room: string): boolean {
  return pattern === '*' || selectsRest(pattern, room);
}

function selectsRest(pattern: string, room: string): boolean {
  if (pattern === '**') return true;
  if (pattern === '') return room === '';
  if (pattern[0] !== '*') return pattern[0] === room[0] && selectsRest(pattern.slice(1), room.slice(1));
  const eats = room !== '' && room[0] !== '-' && room[0] !== '/';
  return selectsRest(pattern.slice(1), room) || (eats && selectsRest(pattern, room.slice(1)));
}

/** The same definition as a regular expression, written by somebody else, so to say. */
function expression(pattern: string): RegExp {
  if (pattern === '*' || pattern === '**') return /^[^]*$/u;
  const rest = pattern.endsWith('**');
  const body = (rest ? pattern.slice(0, -2) : pattern).split('*').map((text) => text.replace(/[\\^$.|?+()[\]{}/]/g, '\\$&'));
  return new RegExp(`^${body.join('[^\\-/]*')}${rest ? '[^]*' : ''}$`, 'u');
}

const word = (characters: string, maxLength: number): fc.Arbitrary<string> => fc.array(fc.constantFrom(...characters), { minLength: 1, maxLength }).map((list) => list.join(''));
const rooms = word('ab-/', 10);
const patterns = fc.tuple(word('aab*-/', 8), fc.constantFrom('', '', '*', '**')).map(([head, tail]) => (head + tail).replace(/\*\*+(?=.)/g, '*').replace(/\*{3,}$/, '**'));
/** Turns some runs of a room into stars, so that half of the pairs match. */
const related = rooms.chain((room) =>
  fc.tuple(fc.constant(room), fc.array(fc.constantFrom('keep', 'keep', 'star', 'drop'), { minLength: room.length, maxLength: room.length }), fc.boolean()).map(([text, choices, rest]) => {
    const starred = [...text].map((character, at) => (choices[at] === 'keep' ? character : choices[at] === 'star' ? '*' : '')).join('').replace(/\*+/g, '*');
    return { room: text, pattern: rest ? `${starred.replace(/\*+$/, '')}**` : starred };
  }),
);

describe('a pattern', () => {
  it('selects what its definition says, for 20,000 unrelated pairs', () => {
    fc.assert(
      fc.property(patterns, rooms, (pattern, room) => {
        expect(patternFault(pattern)).toBeUndefined();
        expect(matchesPattern(pattern, room)).toBe(selects(pattern, room));
        expect(expression(pattern).test(room)).toBe(selects(pattern, room));
      }),
      { numRuns: 20_000 },
    );
  });

  it('selects what its definition says, for 20,000 pairs that nearly match', () => {
    let matched = 0;
    fc.assert(
      fc.property(related, ({ pattern, room }) => {
        fc.pre(pattern !== '' && patternFault(pattern) === undefined);
        const expected = selects(pattern, room);
        matched += expected ? 1 : 0;
        expect(matchesPattern(pattern, room)).toBe(expected);
        expect(expression(pattern).test(room)).toBe(expected);
      }),
      { numRuns: 20_000 },
    );
    expect(matched).toBeGreaterThan(2_000);
  });

  it('that names a room selects that room and no other', () => {
    fc.assert(
      fc.property(rooms, rooms, (pattern, room) => {
        expect(isExactPattern(pattern)).toBe(true);
        expect(matchesPattern(pattern, room)).toBe(pattern === room);
      }),
    );
    expect(isExactPattern('ITB-*')).toBe(false);
  });

  it('is for all rooms only when it is one or two stars alone', () => {
    expect(['*', '**'].every(isAllPattern)).toBe(true);
    expect(['***', '*-*', 'a*', 'a**', ''].some(isAllPattern)).toBe(false);
  });

  it('is faulty exactly when it is no room with stars, or its ** is not at the end', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 12 }), (text) => {
        const room = text.replaceAll('*', 'x');
        const misplaced = /\*\*./su.test(text);
        expect(patternFault(text)).toBe(roomFault(room) ?? (misplaced ? 'rest-not-final' : undefined));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('a hostile pattern', () => {
  const hostile: readonly (readonly [string, string, string])[] = [
    ['many stars', '*a'.repeat(128), 'a'.repeat(255) + 'b'],
    ['many stars and a rest', `${'*a'.repeat(126)}b**`, 'a'.repeat(256)],
    ['many stars that fail at the last character', `${'a*'.repeat(127)}b`, 'a'.repeat(256)],
    ['many segments', '*-'.repeat(128), 'a-'.repeat(127) + 'b'],
    ['a half-matching literal', `*${'a'.repeat(127)}b`, 'a'.repeat(256)],
  ];

  it.each(hostile)('costs well under 50 ms: %s', (_name, pattern, room) => {
    expect(patternFault(pattern)).toBeUndefined();
    matchesPattern(pattern, room);
    const startedMs = performance.now();
    expect(matchesPattern(pattern, room)).toBe(false);
    expect(performance.now() - startedMs).toBeLessThan(50);
  });
});

describe('a pattern covers another', () => {
  /** Rooms of a pattern that a narrower one is likely to miss: nothing, something new, and more segments than it has. */
  const witnesses = (pattern: string): string[] => {
    const rest = isAllPattern(pattern) ? '**' : pattern.endsWith('**') ? '**' : '';
    const head = isAllPattern(pattern) ? '' : pattern.slice(0, pattern.length - rest.length);
    const rests = rest === '' ? [''] : ['', 'z', `z${'-z'.repeat(20)}`, `z${'/z'.repeat(20)}`];
    return ['', 'z'].flatMap((run) => rests.map((end) => head.replaceAll('*', run) + end)).filter((room) => room !== '');
  };

  it('only if it selects all that the other does, and whenever it does, for 40,000 pairs', () => {
    fc.assert(
      fc.property(patterns, patterns, rooms, (wide, narrow, room) => {
        if (coversPattern(wide, narrow)) {
          for (const one of [room, ...witnesses(narrow)]) expect(matchesPattern(narrow, one) && !matchesPattern(wide, one), one).toBe(false);
        } else {
          expect(witnesses(narrow).some((one) => matchesPattern(narrow, one) && !matchesPattern(wide, one))).toBe(true);
        }
      }),
      { numRuns: 40_000 },
    );
  });

  it.each([
    ['ITB-**', 'ITB-1101', true], ['ITB-*', 'ITB-11*', true], ['ITB-*', 'ITB-**', false], ['ITB-*', 'ITB-*-*', false], ['*', '**', true], ['*-*', '*', false],
    ['itb-*', 'ITB-1', false], ['ITB-1*', 'ITB-*', false], ['ITB-**', '*', false], ['a**', 'a', true], ['a/**', 'a-b', false],
  ])('%s over %s: %s', (wide, narrow, covers) => expect(coversPattern(wide, narrow)).toBe(covers));
});
