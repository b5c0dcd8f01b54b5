import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { DEFAULT_LIMITS, matchesPattern, patternFault, patternSubject, roomFault, roomSubject } from './index.ts';

/** nats-server's control line, which holds `PUB <subject> <reply> <bytes>`. */
const NATS_CONTROL_LINE_MAX_BYTES = 4_096;

/** What NATS does: `*` is one token, a last `>` is one or more. */
function covers(filter: string, subject: string): boolean {
  const wanted = filter.split('.');
  const given = subject.split('.');
  for (const [at, token] of wanted.entries()) {
    if (token === '>') return at === wanted.length - 1 && given.length > at;
    if (at >= given.length || (token !== '*' && token !== given[at])) return false;
  }
  return wanted.length === given.length;
}

/** Tokens that nats-server takes in a subject that is published to. */
function isPublishable(subject: string): boolean {
  return subject.split('.').every((token) => token !== '' && token !== '*' && token !== '>' && !/\s/u.test(token) && !/[^\x21-\x7e]/.test(token));
}

const word = (characters: readonly string[], maxLength: number): fc.Arbitrary<string> => fc.array(fc.constantFrom(...characters), { minLength: 1, maxLength }).map((list) => list.join(''));
const rooms = word(['a', 'b', '-', '/', '.', '>', '%', 'é', ' '], 8);
const starred = word(['a', 'b', '-', '/', '.', '%', '*'], 7);
const patterns = fc.tuple(starred, fc.constantFrom('', '**')).map(([head, tail]) => (tail === '' ? head : head.replace(/\*+$/, '') + tail));
const anyRooms = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter((room) => roomFault(room) === undefined);

describe('the subject of a pattern', () => {
  it('covers the subject of every room that the pattern selects', () => {
    let selected = 0;
    fc.assert(
      fc.property(patterns, rooms, (pattern, room) => {
        fc.pre(patternFault(pattern) === undefined);
        if (!matchesPattern(pattern, room)) return;
        selected += 1;
        expect(covers(patternSubject(pattern), roomSubject(room))).toBe(true);
      }),
      { numRuns: 20_000 },
    );
    expect(selected).toBeGreaterThan(200);
  });

  it('covers the rooms made by filling in the stars', () => {
    fc.assert(
      fc.property(patterns, word(['a', '.', '%'], 3), word(['b', '-', '/'], 4), (pattern, segment, rest) => {
        fc.pre(patternFault(pattern) === undefined);
        const room = pattern.replace(/\*\*$/, rest).replaceAll('*', segment);
        expect(matchesPattern(pattern, room)).toBe(true);
        expect(covers(patternSubject(pattern), roomSubject(room))).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });

  it('of one room is the subject of that room', () => {
    fc.assert(
      fc.property(anyRooms, (room) => {
        expect(patternSubject(room)).toBe(roomSubject(room));
      }),
    );
  });

  it('has stars and > only as whole tokens', () => {
    fc.assert(
      fc.property(patterns, (pattern) => {
        fc.pre(patternFault(pattern) === undefined);
        const tokens = patternSubject(pattern).split('.');
        expect(tokens.every((token, at) => token === '*' || (token === '>' && at === tokens.length - 1) || isPublishable(token))).toBe(true);
      }),
    );
  });
});

describe('the subject of a room', () => {
  it('is of this room alone', () => {
    fc.assert(
      fc.property(rooms, rooms, (left, right) => {
        expect(roomSubject(left) === roomSubject(right)).toBe(left === right);
      }),
      { numRuns: 10_000 },
    );
  });

  it('tells all 7,380 rooms of up to four letters, separators and escapes apart', () => {
    const letters = ['-', '/', '%', 'a', '2', 'D', '.', 'E', '_'];
    let words = [''];
    const subjects = new Map<string, string>();
    for (let length = 1; length <= 4; length += 1) {
      words = words.flatMap((head) => letters.map((letter) => head + letter));
      for (const room of words) subjects.set(roomSubject(room), room);
    }
    expect(subjects.size).toBe(9 + 81 + 729 + 6_561);
  });

  it('may be published to', () => {
    fc.assert(
      fc.property(anyRooms, (room) => {
        expect(isPublishable(roomSubject(room))).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each(['-', '/', '.', ' ', 'é', '階', '🚪', 'a-', '!-'])('fits the control line for the longest room made of %j', (unit) => {
    const room = unit.repeat(Math.floor(DEFAULT_LIMITS.roomMaxBytes / Buffer.byteLength(unit)));
    expect(roomFault(room)).toBeUndefined();
    expect(roomSubject(room).length).toBeLessThan(NATS_CONTROL_LINE_MAX_BYTES);
    expect(isPublishable(roomSubject(room))).toBe(true);
  });
});
