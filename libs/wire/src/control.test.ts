import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { DEFAULT_LIMITS, formatControl, parseControl, parseSubscriptionChange, patternFault, type ControlFrame } from './index.ts';

const OPS = ['hello', 'welcome', 'subscribe', 'subscribed', 'live', 'behind', 'unsubscribe', 'published', 'error', 'gap', 'history', 'page', 'consume', 'consuming', 'ack', 'nack', 'defer', 'discard', 'settled', 'enter', 'entered', 'watch', 'presence', 'refresh', 'refreshed', 'drain', 'bye'];
const REFUSALS = ['CONTROL_INVALID', 'CONTROL_TOO_LARGE', 'PATTERN_INVALID'];

const answers = (text: string): void => {
  for (const parsed of [parseControl(text), parseSubscriptionChange(text)]) if (!parsed.ok) expect(REFUSALS).toContain(parsed.code);
};

const keys = fc.constantFrom('op', 'rooms', 'create', 'since', 'seq', 'at', 'last', 'room', 'limits', 'id', 'class', 'request', '__proto__', 'constructor', 'toString', 'x');
const { tree } = fc.letrec((tie) => ({
  tree: fc.oneof({ depthSize: 'small' }, tie('leaf'), tie('list'), tie('record')),
  leaf: fc.oneof(fc.constantFrom(...OPS, 'live', '*', '**a', '__proto__'), fc.integer(), fc.double(), fc.boolean(), fc.constant(null), fc.string({ unit: 'binary' })),
  list: fc.array(tie('tree'), { maxLength: 4 }),
  record: fc.array(fc.tuple(keys, tie('tree')), { maxLength: 6 }).map((pairs) => Object.fromEntries(pairs) as Record<string, unknown>),
}));

describe('reading a text frame', () => {
  it('never throws for arbitrary text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 80 }), answers), { numRuns: 3_000 });
  });

  it('never throws for arbitrary JSON', () => {
    fc.assert(fc.property(fc.json(), answers), { numRuns: 3_000 });
  });

  it('never throws for JSON that looks like ours', () => {
    const taken = new Set<string>();
    fc.assert(
      fc.property(fc.constantFrom(...OPS), tree, (op, value) => {
        const text = JSON.stringify(typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value, op } : { op, room: value });
        answers(text);
        const parsed = parseControl(text);
        if (parsed.ok) taken.add(parsed.frame.op);
      }),
      { numRuns: 10_000 },
    );
    expect(taken).toContain('hello');
  });

  it.each(['[', '{"a":', '{"rooms":[', '{"op":"hello","x":['])('is not brought down by 30,000 of %s', (opening) => {
    const closing = [...opening].reverse().map((character) => ({ '[': ']', '{': '}' })[character] ?? '').join('');
    const depth = Math.min(30_000, Math.floor((DEFAULT_LIMITS.controlMaxBytes - 1) / (opening.length + closing.length)));
    answers(opening.repeat(depth));
    answers(`${opening.repeat(depth)}1${closing.repeat(depth)}`);
    answers(`{"op":"subscribe","rooms":["A"],"since":${'['.repeat(30_000)}${']'.repeat(30_000)}}`);
    answers(`{"rooms":${'['.repeat(30_000)}${']'.repeat(30_000)},"create":true}`);
  });

  it('takes nothing from a prototype and gives nothing to one', () => {
    expect(parseControl('{"__proto__":{"op":"bye"}}')).toMatchObject({ ok: false });
    expect(parseSubscriptionChange('{"rooms":["A"],"__proto__":{"create":true}}')).toEqual({ ok: true, change: { rooms: ['A'], create: false } });
    parseControl('{"op":"hello","__proto__":{"stained":true}}');
    expect(({} as Record<string, unknown>)['stained']).toBeUndefined();
  });

  it('keeps to the bytes of its bound, not to the characters', () => {
    const limits = { ...DEFAULT_LIMITS, controlMaxBytes: 64 };
    const text = (padding: string): string => `{"op":"bye","x":"${padding}"}`;
    expect(parseControl(text('a'.repeat(64 - text('').length)), limits)).toMatchObject({ ok: true });
    expect(parseControl(text('a'.repeat(65 - text('').length)), limits)).toMatchObject({ code: 'CONTROL_TOO_LARGE' });
    expect(parseControl(text('é'.repeat(22)), limits)).toMatchObject({ ok: true });
    expect(parseControl(text('é'.repeat(23)), limits)).toMatchObject({ code: 'CONTROL_TOO_LARGE' });
    expect(parseControl(text('階'.repeat(16)), limits)).toMatchObject({ code: 'CONTROL_TOO_LARGE' });
    expect(parseSubscriptionChange(`{"rooms":["${'階'.repeat(20)}"]}`, limits)).toMatchObject({ code: 'CONTROL_TOO_LARGE' });
    expect(parseControl(text('階'.repeat(80)), { ...limits, controlMaxBytes: 200 })).toMatchObject({ code: 'CONTROL_TOO_LARGE' });
  });
});

describe('what was read', () => {
  it('holds the fields of its op and no others', () => {
    const parsed = parseControl('{"op":"ack","request":"A","seqs":[1],"delayMs":5,"rooms":["x"],"extra":{}}');
    expect(parsed).toEqual({ ok: true, frame: { op: 'ack', request: 'A', seqs: [1] } });
  });

  it('holds only valid patterns, in their order', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string({ unit: 'grapheme', maxLength: 6 }), fc.constantFrom('*', '**', 'a**', '**a', 'a-*')), { maxLength: 8 }), (rooms) => {
        const parsed = parseControl(JSON.stringify({ op: 'subscribe', request: '1', rooms }));
        const expected = rooms.every((room) => patternFault(room) === undefined);
        expect(parsed.ok).toBe(expected);
        if (parsed.ok) expect(parsed.frame).toEqual({ op: 'subscribe', request: '1', rooms });
      }),
      { numRuns: 2_000 },
    );
  });

  it.each(['{"seq":1,"at":"noon"}', '{"seq":1,"last":null}', '{"at":5,"seq":-1}', '{"last":1.5,"at":5}'])('never says two starts at once (%s)', (since) => {
    expect(parseControl(`{"op":"subscribe","request":"1","rooms":["A"],"since":${since}}`)).toMatchObject({ ok: false, code: 'CONTROL_INVALID' });
  });

  it('is written so that it is read back', () => {
    const frames: ControlFrame[] = [
      { op: 'subscribe', request: 'a_B-9', rooms: ['階-*', '🚪'], since: { at: Number.MAX_SAFE_INTEGER } },
      { op: 'error', code: 'INTERNAL', detail: '\u0000\ud7ff' },
      { op: 'presence', request: 'w', room: 'A', joined: [], left: [{ name: 'x', at: 3, data: '{"a":1}' }] },
    ];
    for (const frame of frames) expect(parseControl(formatControl(frame))).toEqual({ ok: true, frame });
  });
});
