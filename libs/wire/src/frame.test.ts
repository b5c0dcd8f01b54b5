import { randomFillSync } from 'node:crypto';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { DEFAULT_LIMITS, encodeFrame, findRoomEnd, findTagEnd, formatTagFields, parseFrame, roomFault, splitFrame, type TagFields } from './index.ts';

const LINE_FEED = 10;
const REFUSALS = ['FRAME_LINE_FEED_MISSING', 'FRAME_TOO_LARGE', 'ROOM_NAME_INVALID', 'TAG_LINE_INVALID'];

const rooms = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }).filter((room) => roomFault(room) === undefined);
const bodies = fc.uint8Array({ maxLength: 200 });
const whole = fc.maxSafeNat();
const hex = (length: number): fc.Arbitrary<string> => fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length });
const fields: fc.Arbitrary<TagFields> = fc.record(
  {
    id: fc.string({ unit: fc.constantFrom(...'01JD6Q-_az'), minLength: 1, maxLength: 64 }),
    seq: whole,
    at: whole,
    from: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((text) => roomFault(text.replaceAll('*', '')) === undefined),
    ttl: whole,
    tp: fc.tuple(hex(2), hex(32), hex(16), hex(2)).map((parts) => parts.join('-')),
  },
  { requiredKeys: [] },
);

describe('a frame', () => {
  it('is read back as it was built', () => {
    fc.assert(
      fc.property(rooms, bodies, (room, body) => {
        const parsed = parseFrame(encodeFrame(room, body), 1);
        expect(parsed).toEqual({ ok: true, room, fields: {}, body });
        expect(parseFrame(encodeFrame(room, body), 2)).toEqual(parsed);
      }),
      { numRuns: 3_000 },
    );
  });

  it('is read back with its v2 fields', () => {
    fc.assert(
      fc.property(rooms, fields, bodies, (room, given, body) => {
        const parsed = parseFrame(encodeFrame(room, body, formatTagFields(given)), 2);
        expect(parsed).toEqual({ ok: true, room, fields: given, body });
      }),
      { numRuns: 3_000 },
    );
  });

  it('takes a body as text in UTF-8', () => {
    expect(encodeFrame('A', '{"é":1}')).toEqual(Uint8Array.from(Buffer.from('A\n{"é":1}')));
  });

  it('with fields is no v1 frame: the tab is refused', () => {
    expect(parseFrame(encodeFrame('A', '{}', formatTagFields({ seq: 1 })), 1)).toMatchObject({ ok: false, code: 'ROOM_NAME_INVALID' });
  });

  it('is taken up to its bounds and not a byte further', () => {
    const limits = { ...DEFAULT_LIMITS, frameMaxBytes: 20, tagLineMaxBytes: 10, roomMaxBytes: 6 };
    const frame = (tag: number, all: number): Uint8Array => Uint8Array.from({ length: all }, (_, at) => (at === tag ? LINE_FEED : at === 6 && tag > 6 ? 9 : 97));
    expect(splitFrame(frame(6, 20), 1, limits)).toMatchObject({ ok: true, tagEnd: 6 });
    expect(splitFrame(frame(6, 21), 1, limits)).toMatchObject({ code: 'FRAME_TOO_LARGE' });
    expect(splitFrame(frame(10, 20), 2, limits)).toMatchObject({ ok: true, roomEnd: 6, tagEnd: 10 });
    expect(splitFrame(frame(11, 20), 2, limits)).toMatchObject({ code: 'TAG_LINE_INVALID' });
    expect(splitFrame(frame(7, 20), 1, limits)).toMatchObject({ code: 'ROOM_NAME_INVALID' });
  });
});

/** Half of these frames are noise, half are good ones with a few bytes changed, so that both ways are gone often. */
function fuzzed(pool: Uint8Array, run: number): Uint8Array {
  const length = (pool[run % pool.length] ?? 0) % 64;
  const noise = pool.subarray(run % (pool.length - 64)).subarray(0, length);
  if (run % 2 === 0) return Uint8Array.from(noise);
  const good = encodeFrame(`ITB-${run}`, noise, run % 3 === 0 ? formatTagFields({ id: `id${run}`, seq: run, from: 'é' }) : '');
  for (let change = 0; change < run % 4; change += 1) good[(pool[(run + change * 7) % pool.length] ?? 0) % good.length] = pool[(run * 3 + change) % pool.length] ?? 0;
  return good;
}

describe('splitting arbitrary bytes', () => {
  it('never throws, and reads nothing after the tag line, in 50,000 fuzzed frames', () => {
    const pool = randomFillSync(new Uint8Array(65_536));
    const limits = { ...DEFAULT_LIMITS, tagLineMaxBytes: 48, roomMaxBytes: 24 };
    const outcomes = new Map<string, number>();
    const wrong: unknown[] = [];
    for (let run = 0; run < 50_000; run += 1) {
      const bytes = fuzzed(pool, run);
      const version = run % 5 === 0 ? 1 : 2;
      const split = splitFrame(bytes, version, limits);
      const parsed = parseFrame(bytes, version, limits);
      outcomes.set(split.ok ? 'ok' : split.code, (outcomes.get(split.ok ? 'ok' : split.code) ?? 0) + 1);
      if (!split.ok) {
        if (!REFUSALS.includes(split.code) || parsed.ok || parsed.code !== split.code) wrong.push([bytes, split, parsed]);
        continue;
      }
      const inOrder = split.roomEnd <= split.tagEnd && bytes[split.tagEnd] === LINE_FEED && findTagEnd(bytes, bytes.length) === split.tagEnd;
      if (!inOrder || roomFault(split.room) !== undefined || Buffer.from(bytes.subarray(0, split.roomEnd)).toString('utf8') !== split.room) wrong.push([bytes, split]);
      bytes.fill(run & 0xff, split.tagEnd + 1);
      const again = splitFrame(bytes, version, limits);
      if (!again.ok || again.room !== split.room || again.roomEnd !== split.roomEnd || again.tagEnd !== split.tagEnd) wrong.push([bytes, split, again]);
    }
    expect(wrong).toEqual([]);
    for (const outcome of ['ok', 'FRAME_LINE_FEED_MISSING', 'ROOM_NAME_INVALID']) expect(outcomes.get(outcome)).toBeGreaterThan(500);
  }, 5_000);

  it('stays within the bound of the tag line however large the frame', () => {
    const huge = new Uint8Array(DEFAULT_LIMITS.frameMaxBytes).fill(97);
    const startedMs = performance.now();
    for (let run = 0; run < 1_000; run += 1) splitFrame(huge, 2);
    // 1,000 walks over 1 MiB would take about a second; 1,000 walks over 2 KiB take a few milliseconds.
    expect(performance.now() - startedMs).toBeLessThan(250);
  });

  it('finds ends where there are some', () => {
    expect(findTagEnd(Uint8Array.of(97, 10, 10), 5)).toBe(1);
    expect(findTagEnd(Uint8Array.of(97, 97, 10), 1)).toBe(-1);
    expect(findTagEnd(new Uint8Array(), 5)).toBe(-1);
    expect(findRoomEnd(Uint8Array.of(97, 9, 9, 10), 3)).toBe(1);
    expect(findRoomEnd(Uint8Array.of(97, 97, 10, 9), 2)).toBe(2);
  });
});
