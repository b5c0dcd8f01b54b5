import { encodeFrame, formatTagFields, parseFrame, splitFrame, type TagFields } from '@carillon/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { compose, SSE, V1, V2, type Codec, type OutboundEvent } from './index.ts';
import { maskedV1, maskedV2 } from './codec.ts';

interface WebSocketFrame { readonly first: number; readonly key: number | undefined; readonly headerBytes: number; readonly payload: Buffer }

/** Reads WebSocket frames as RFC 6455 §5.2 lays them out. */
function readWebSocket(bytes: Buffer): WebSocketFrame[] {
  const frames: WebSocketFrame[] = [];
  for (let at = 0; at < bytes.length; ) {
    const start = at;
    const first = bytes.readUInt8(at);
    const second = bytes.readUInt8(at + 1);
    at += 2;
    let length = second & 0x7f;
    if (length === 126) [length, at] = [bytes.readUInt16BE(at), at + 2];
    else if (length === 127) [length, at] = [Number(bytes.readBigUInt64BE(at)), at + 8];
    const isMasked = (second & 0x80) !== 0;
    const key = isMasked ? bytes.readUInt32BE(at) : undefined;
    const mask = isMasked ? bytes.subarray(at, at + 4) : Buffer.alloc(4);
    at += isMasked ? 4 : 0;
    const payload = Buffer.from(bytes.subarray(at, at + length)).map((byte, index) => byte ^ (mask[index % 4] ?? 0));
    expect(payload.length).toBe(length);
    frames.push({ first, key, headerBytes: at - start, payload: Buffer.from(payload) });
    at += length;
  }
  return frames;
}

function outbound(bytes: Uint8Array, fields = ''): OutboundEvent {
  const split = splitFrame(bytes, 2);
  if (!split.ok) throw new Error(split.code);
  return { bytes: Buffer.from(bytes), roomEnd: split.roomEnd, tagEnd: split.tagEnd, fields, source: undefined, order: 0 };
}

let keys = 0;
const countingKeys = (): number => (0x9e3779b1 * (keys += 1)) >>> 0;
const MASKED_V1 = maskedV1(countingKeys);
const MASKED_V2 = maskedV2(countingKeys);
const FIN_BINARY = 0x82;

describe('the codecs of WebSocket peers', () => {
  const fieldsOf: TagFields = { id: '01JD6Q3V7E8ZK4M2N5P6R7S8T9', seq: 7, at: 1_795_264_000_000, from: 'CP1' };
  const fields = formatTagFields(fieldsOf);

  it.each([
    ['v1 from a v1 frame', V1, '', 'ITB-1101\n{}'],
    ['v1 from a v2 frame: its fields are left out', V1, '\tid=old', 'ITB-1101\n{}'],
    ['v2 from a v1 frame: ours are put in', V2, '', `ITB-1101${fields}\n{}`],
    ['v2 from a v2 frame: ours replace the sender\'s', V2, '\tid=old\tseq=1', `ITB-1101${fields}\n{}`],
    ['masked v1 from a v2 frame', MASKED_V1, '\tid=old', 'ITB-1101\n{}'],
    ['masked v2 from a v2 frame', MASKED_V2, '\tid=old', `ITB-1101${fields}\n{}`],
  ])('%s', (_name, codec, came, leaves) => {
    const [frame] = readWebSocket(compose([outbound(encodeFrame('ITB-1101', '{}', came), fields)], codec));
    expect(frame?.payload.toString()).toBe(leaves);
    expect(frame?.first).toBe(FIN_BINARY);
    const parsed = parseFrame(frame?.payload ?? Buffer.alloc(0), codec.version);
    expect(parsed).toMatchObject({ ok: true, room: 'ITB-1101', fields: codec.version === 2 ? fieldsOf : {} });
  });

  it.each([
    [0, 2], [1, 2], [125, 2], [126, 4], [127, 4], [65_535, 4], [65_536, 10], [70_000, 10],
  ])('put a payload of %i bytes behind a header of %i', (length, headerBytes) => {
    const event: OutboundEvent = { bytes: Buffer.alloc(length, 'r'), roomEnd: 0, tagEnd: 0, fields: '', source: undefined, order: 0 };
    for (const codec of [V1, V2, MASKED_V1, MASKED_V2]) {
      const bytes = compose([event], codec);
      expect(bytes.length).toBe(codec.size(event));
      const frames = readWebSocket(bytes);
      expect(frames.length).toBe(1);
      expect(frames[0]?.headerBytes).toBe(headerBytes + (codec.shared ? 0 : 4));
      expect(frames[0]?.payload.equals(event.bytes)).toBe(true);
    }
  });

  it('mask every frame with a key of its own, and only for dialled peers', () => {
    const events = Array.from({ length: 100 }, () => outbound(encodeFrame('A', 'body')));
    for (const codec of [MASKED_V1, MASKED_V2]) {
      const frames = readWebSocket(compose(events, codec));
      expect(new Set(frames.map(({ key }) => key)).size).toBe(100);
      expect(frames.every(({ payload }) => payload.toString() === 'A\nbody')).toBe(true);
    }
    for (const codec of [V1, V2]) expect(readWebSocket(compose(events, codec)).every(({ key }) => key === undefined)).toBe(true);
  });

  it('do not change the frame they read from', () => {
    const event = outbound(encodeFrame('A', 'body', '\tid=x'), '\tid=y');
    const before = Buffer.from(event.bytes);
    for (const codec of [V1, V2, MASKED_V1, MASKED_V2, SSE]) compose([event], codec);
    expect(event.bytes.equals(before)).toBe(true);
  });

  it('write any batch so that it is read back event by event', () => {
    const room = fc.constantFrom('A', 'ITB-1101', 'Gebäude-階', 'r'.repeat(126));
    const came = fc.constantFrom('', '\tid=old', '\tid=old\tfrom=é\tseq=1');
    const body = fc.oneof({ weight: 9, arbitrary: fc.uint8Array({ maxLength: 140 }) }, { weight: 1, arbitrary: fc.integer({ min: 65_500, max: 65_560 }).map((length) => new Uint8Array(length).fill(length)) });
    fc.assert(
      fc.property(fc.array(fc.tuple(room, came, body, fc.constantFrom('', fields)), { maxLength: 6 }), fc.constantFrom(V1, V2, MASKED_V1, MASKED_V2), (events, codec) => {
        const bytes = compose(events.map(([name, old, content, ours]) => outbound(encodeFrame(name, content, old), ours)), codec);
        const expected = events.map(([name, , content, ours]) => Buffer.from(encodeFrame(name, content, codec.version === 2 ? ours : '')));
        expect(readWebSocket(bytes).map(({ payload }) => payload.toString('latin1'))).toEqual(expected.map((frame) => frame.toString('latin1')));
      }),
      { numRuns: 300 },
    );
  });
});

interface StreamEvent { readonly id: string | undefined; readonly data: string }

/** Reads server-sent events as the HTML standard says (§9.2.6), line ends of all three kinds. */
function readStream(bytes: Buffer): StreamEvent[] {
  const events: StreamEvent[] = [];
  let id: string | undefined;
  let data: string[] = [];
  for (const line of bytes.toString('utf8').split(/\r\n|\r|\n/)) {
    if (line === '') {
      if (data.length > 0) events.push({ id, data: data.join('\n') });
      [id, data] = [undefined, []];
    } else if (line.startsWith('data: ')) data.push(line.slice(6));
    else if (line.startsWith('id: ')) id = line.slice(4);
    else throw new Error(`a line of neither data nor id: ${JSON.stringify(line)}`);
  }
  expect(data).toEqual([]);
  return events;
}

describe('the codec of live tails', () => {
  const read = (room: string, body: string, fields = '', codec: Codec = SSE): StreamEvent[] => readStream(compose([outbound(encodeFrame(room, body, '\tid=theirs'), fields)], codec));

  it('sends the frame as the data of one event, and its id when it has one', () => {
    expect(read('ITB-1101', '{"key":1}')).toEqual([{ id: undefined, data: 'ITB-1101\n{"key":1}' }]);
    expect(read('ITB-1101', '{"key":1}', '\tid=x1\tseq=7')).toEqual([{ id: 'x1', data: 'ITB-1101\n{"key":1}' }]);
    expect(read('ITB-1101', '{}', '\tseq=7\tid=x1')).toEqual([{ id: 'x1', data: 'ITB-1101\n{}' }]);
  });

  it.each(['{\n"a":1\n}', '{\r\n"a":1\r\n}', '{\r"a":1\r}', '\n\n\n{"a":1}\n', '{\n\n\r\n\r"a":1}\n\n', '{"a"\n:1}\r'])('sends JSON on several lines as one event that parses to the same (%j)', (body) => {
    const events = read('A', body);
    expect(events.length).toBe(1);
    const [room, ...lines] = events[0]?.data.split('\n') ?? [];
    expect(room).toBe('A');
    expect(JSON.parse(lines.join('\n'))).toEqual(JSON.parse(body));
  });

  it('never ends an event early and adds no field, whatever the body holds', () => {
    const nasty = fc.array(fc.constantFrom('\n', '\r', '\r\n', ':', ' ', 'data: x', 'id: 7', 'event: error', 'retry: 1', '{}', '\u2028', '\ufeff', '\u0000'), { maxLength: 12 }).map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(fc.array(nasty, { minLength: 1, maxLength: 4 }), (bodies) => {
        const events = readStream(compose(bodies.map((body) => outbound(encodeFrame('A', body))), SSE));
        expect(events.map(({ data }) => data)).toEqual(bodies.map((body) => ['A', ...body.split(/[\r\n]+/).filter((line) => line !== '')].join('\n')));
      }),
      { numRuns: 1_000 },
    );
  });

  it('takes exactly the room that it says', () => {
    for (const body of ['', '{}', '\n\n{}\r\n', 'é\n階']) {
      const event = outbound(encodeFrame('A', body), '\tid=x');
      expect(compose([event], SSE).length).toBe(SSE.size(event));
      const target = Buffer.alloc(SSE.size(event) + 8, '#');
      expect(SSE.write(event, target, 4)).toBe(4 + SSE.size(event));
      expect(target.toString('latin1').replace(/[^#]+/, '')).toBe('########');
    }
  });
});
