import { describe, expect, test } from 'vitest';

import { SseReader } from './sse-reader.ts';

type Event = readonly [string, string];

function reading(maxBytes = 1_000): { readonly events: Event[]; readonly reader: SseReader } {
  const events: Event[] = [];
  return { events, reader: new SseReader({ maxBytes, event: (name, data) => events.push([name, data]) }) };
}

function read(stream: Buffer, cuts: readonly number[] = []): Event[] {
  const { events, reader } = reading();
  const ends = [...cuts, stream.length];
  for (const [index, end] of ends.entries()) expect(reader.push(stream.subarray(ends[index - 1] ?? 0, end))).toBe(true);
  return events;
}

const stream = Buffer.from('\ufeffevent: record\ndata: {"é":"😀"}\n\n: a comment\r\nevent:beat\r\ndata: 1\r\ndata\r\ndata:  2\r\n\r\nid: 7\rretry: 1\rdata: x\r\revent: empty\n\ndata: last\n\nevent: cut\ndata: off\n');
const events: readonly Event[] = [['record', '{"é":"😀"}'], ['beat', '1\n\n 2'], ['message', 'x'], ['message', 'last']];

describe('a stream of server-sent events', () => {
  test('is read whole', () => expect(read(stream)).toEqual(events));

  test('is read byte by byte', () => expect(read(stream, Array.from({ length: stream.length - 1 }, (_, index) => index + 1))).toEqual(events));

  test('is read alike wherever it is cut in two', () => {
    for (let cut = 0; cut <= stream.length; cut += 1) expect(read(stream, [cut]), `cut at ${cut}`).toEqual(events);
  });

  test('may come in empty pieces', () => expect(read(stream, [0, 0, 5, 5, 5])).toEqual(events));
});

describe('a stream without an end is given up', () => {
  test('in a line, before more than its bound is held', () => {
    const { reader, events: none } = reading(100);
    expect(reader.push(Buffer.from('data: '))).toBe(true);
    expect(reader.push(Buffer.alloc(94, 0x61))).toBe(true);
    expect(reader.push(Buffer.from('a'))).toBe(false);
    expect(none).toEqual([]);
  });

  test('in the lines of one event', () => {
    const { reader } = reading(100);
    const lines = Array.from({ length: 20 }, () => reader.push(Buffer.from('data: 0123456789\n')));
    expect(lines.indexOf(false)).toBe(6);
  });

  test('but not by the number of its events', () => {
    const { reader, events: many } = reading(100);
    for (let n = 0; n < 1_000; n += 1) expect(reader.push(Buffer.from(`data: ${n}\n\n`))).toBe(true);
    expect(many).toHaveLength(1_000);
  });
});
