import { createServer } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';

import { DEFAULT_LIMITS, type WireLimits } from '@carillon/wire';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { compose, Door, LaneGroup, type Connection, type ConnectionClose, type ConnectionHandler } from './index.ts';

const LIMITS: WireLimits = { ...DEFAULT_LIMITS, fragmentsMax: 8 };
/** Waits for a condition; looks again every few milliseconds. */
const eventually = <T>(check: () => T | Promise<T>, intervalMs = 10): Promise<T> => vi.waitFor(check, { timeout: 10_000, interval: intervalMs });
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

interface Opened { readonly port: number; readonly frames: Buffer[]; readonly texts: string[]; readonly closes: ConnectionClose[]; readonly refused: string[]; readonly joined: Connection[]; readonly openSockets: () => Promise<number> }

async function openDoor(): Promise<Opened> {
  const [frames, texts, closes, refused, joined]: [Buffer[], string[], ConnectionClose[], string[], Connection[]] = [[], [], [], [], []];
  const handler: ConnectionHandler = {
    frame: (_connection, bytes) => frames.push(Buffer.from(bytes)),
    text: (_connection, text) => texts.push(text),
    closed: (_connection, close) => closes.push(close),
  };
  const door = new Door({ limits: LIMITS, laneMaxBytes: 1_000_000, group: new LaneGroup(10_000_000), ticks: { now: 0 } });
  const server = createServer();
  server.on('upgrade', (request, stream, head) => door.accept(request, stream, head, { handler, joined: (connection) => joined.push(connection), refused: (code) => refused.push(code) }));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  undo.push(() => new Promise((resolve) => server.close(resolve)), () => joined.map((connection) => connection.terminate()));
  const openSockets = (): Promise<number> => new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));
  return { port: (server.address() as AddressInfo).port, frames, texts, closes, refused, joined, openSockets };
}

interface RawPeer { readonly socket: Socket; readonly got: () => Buffer; readonly isEnded: () => boolean }

/** A TCP client that never hangs up by itself. */
async function connectTo(port: number): Promise<RawPeer> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  let got = Buffer.alloc(0);
  let isEnded = false;
  socket.on('data', (piece) => (got = Buffer.concat([got, piece])));
  socket.on('end', () => (isEnded = true));
  socket.on('error', () => (isEnded = true));
  undo.push(() => socket.destroy());
  await new Promise<void>((resolve) => socket.once('connect', resolve));
  return { socket, got: () => got, isEnded: () => isEnded };
}

const HEADERS = { Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version': '13' };
const request = (headers: Readonly<Record<string, string | undefined>> = {}, method = 'GET'): string =>
  [`${method} / HTTP/1.1`, 'Host: x', ...Object.entries({ ...HEADERS, ...headers }).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`])), '', ''].join('\r\n');

/** Joins by hand. The bytes that come back are those after the handshake's answer. */
async function join(port: number): Promise<RawPeer> {
  const peer = await connectTo(port);
  peer.socket.write(request());
  await eventually(() => expect(peer.got().includes('\r\n\r\n')).toBe(true), 5);
  expect(peer.got().toString('latin1')).toMatch(/^HTTP\/1\.1 101 [^]*s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/);
  const skip = peer.got().indexOf('\r\n\r\n') + 4;
  return { ...peer, got: () => peer.got().subarray(skip) };
}

interface Shape { readonly first?: number; readonly payload?: Uint8Array; readonly isMasked?: boolean; readonly claimed?: bigint }

const [FIN, TEXT, BINARY, CONTINUATION, CLOSE, PING] = [0x80, 1, 2, 0, 8, 9];
const MASK = Buffer.from([0xde, 0xad, 0xbe, 0xef]);

/** One WebSocket frame, right or wrong. */
function frame({ first = FIN | BINARY, payload = new Uint8Array(), isMasked = true, claimed = BigInt(payload.length) }: Shape): Buffer {
  const length = claimed < 126n ? Buffer.from([Number(claimed)]) : claimed < 65_536n ? Buffer.from([126, Number(claimed >> 8n), Number(claimed & 0xffn)]) : Buffer.alloc(9, 127);
  if (length.length === 9) length.writeBigUInt64BE(claimed, 1);
  length[0] = (length[0] ?? 0) | (isMasked ? 0x80 : 0);
  const body = isMasked ? Buffer.concat([MASK, Buffer.from(payload).map((byte, at) => byte ^ (MASK[at % 4] ?? 0))]) : Buffer.from(payload);
  return Buffer.concat([Buffer.from([first]), length, body]);
}

const text = (value: string): Uint8Array => Buffer.from(value);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const bytesOfLength = (length: number): Buffer => Buffer.from(Uint8Array.from({ length }, (_, at) => (at * 31 + length) & 0xff));

async function feed(socket: Socket, bytes: Buffer, cuts: readonly number[]): Promise<void> {
  let from = 0;
  for (const cut of [...new Set(cuts), bytes.length].sort((left, right) => left - right)) {
    if (cut <= from) continue;
    socket.write(bytes.subarray(from, cut));
    from = cut;
    await turn();
  }
}

describe('frames that come in pieces', () => {
  it.each([0, 1, 125, 126, 127, 300])('are the same byte by byte (%i bytes)', async (length) => {
    const { port, frames } = await openDoor();
    const { socket } = await join(port);
    const payload = bytesOfLength(length);
    const bytes = Buffer.concat([frame({ payload }), frame({ payload })]);
    await feed(socket, bytes, Array.from(bytes, (_, at) => at));
    await eventually(() => expect(frames.length).toBe(2));
    expect(frames.every((each) => each.equals(payload))).toBe(true);
  });

  it.each([65_535, 65_536, 65_537, LIMITS.frameMaxBytes])('are the same split at random (%i bytes)', async (length) => {
    const { port, frames } = await openDoor();
    const { socket } = await join(port);
    const payload = bytesOfLength(length);
    const bytes = frame({ payload });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 30 }), fc.array(fc.nat(20), { maxLength: 5 }), async (anywhere, inHeader) => {
        frames.length = 0;
        await feed(socket, bytes, [...anywhere, ...inHeader]);
        await eventually(() => expect(frames.length).toBe(1), 1);
        expect(frames[0]?.equals(payload)).toBe(true);
      }),
      { numRuns: 8 },
    );
  });

  it('are one frame when they are fragments, with pings between them', async () => {
    const { port, frames, texts } = await openDoor();
    const { socket, got } = await join(port);
    const pieces = ['ITB-1101', '\n', '{"a"', ':1}'].map(text);
    const fragments = pieces.map((payload, at) => frame({ first: (at === pieces.length - 1 ? FIN : 0) | (at === 0 ? BINARY : CONTINUATION), payload }));
    const euro = text('€');
    await feed(socket, Buffer.concat(fragments.flatMap((each, at) => [each, frame({ first: FIN | PING, payload: text(`${at}`) })])), [3, 11, 12, 40]);
    await feed(socket, Buffer.concat([frame({ first: TEXT, payload: euro.subarray(0, 2) }), frame({ first: FIN | CONTINUATION, payload: euro.subarray(2) })]), [7]);
    await eventually(() => expect([frames.map(String), texts]).toEqual([['ITB-1101\n{"a":1}'], ['€']]));
    await eventually(() => expect(got().equals(Buffer.concat(['0', '1', '2', '3'].map((each) => frame({ first: FIN | 10, payload: text(each), isMasked: false }))))).toBe(true));
  });

  it('are taken up to the bounds of size and fragments', async () => {
    const { port, frames } = await openDoor();
    const { socket } = await join(port);
    const payload = bytesOfLength(LIMITS.frameMaxBytes / 8);
    for (let at = 0; at < 8; at += 1) socket.write(frame({ first: (at === 7 ? FIN : 0) | (at === 0 ? BINARY : CONTINUATION), payload }));
    await eventually(() => expect(frames.map(({ length }) => length)).toEqual([LIMITS.frameMaxBytes]));
  });
});

const over = bytesOfLength(LIMITS.frameMaxBytes + 1);
const half = bytesOfLength(LIMITS.frameMaxBytes / 2 + 1);
const fragments = (count: number): Buffer => Buffer.concat(Array.from({ length: count }, (_, at) => frame({ first: (at === 0 ? BINARY : CONTINUATION) | (at === count - 1 ? FIN : 0), payload: text('x') })));

const FAULTS: readonly (readonly [string, Buffer, number, string])[] = [
  ['a frame over the bound', frame({ payload: over }), 1009, 'FRAME_TOO_LARGE'],
  ['the header of a frame over the bound', frame({ claimed: BigInt(LIMITS.frameMaxBytes + 1) }), 1009, 'FRAME_TOO_LARGE'],
  ['a text over the bound', frame({ first: FIN | TEXT, payload: over }), 1009, 'FRAME_TOO_LARGE'],
  ['fragments that are over the bound together', Buffer.concat([frame({ first: BINARY, payload: half }), frame({ first: FIN | CONTINUATION, payload: half })]), 1009, 'FRAME_TOO_LARGE'],
  ['a length of 2^63', frame({ claimed: 1n << 63n }), 1009, 'FRAME_TOO_LARGE'],
  ['a length of 2^64 - 1', frame({ claimed: (1n << 64n) - 1n }), 1009, 'FRAME_TOO_LARGE'],
  ['a length of 2^53', frame({ claimed: 1n << 53n }), 1009, 'FRAME_TOO_LARGE'],
  ['one fragment too many', fragments(LIMITS.fragmentsMax + 1), 1008, 'FRAGMENTS_EXCEEDED'],
  ['empty fragments without end', Buffer.concat([frame({ first: BINARY }), ...Array.from({ length: 8 }, () => frame({ first: CONTINUATION }))]), 1008, 'FRAGMENTS_EXCEEDED'],
  ['a text that is not UTF-8', frame({ first: FIN | TEXT, payload: Uint8Array.of(0x61, 0xc3, 0x28) }), 1007, 'TEXT_INVALID_UTF8'],
  ['a text that breaks off', frame({ first: FIN | TEXT, payload: Uint8Array.of(0xe2, 0x82) }), 1007, 'TEXT_INVALID_UTF8'],
  ['a close reason that is not UTF-8', frame({ first: FIN | CLOSE, payload: Uint8Array.of(0x03, 0xe8, 0xff) }), 1007, 'TEXT_INVALID_UTF8'],
  ['reserved bit 1', frame({ first: FIN | 0x40 | BINARY }), 1002, 'FRAME_MALFORMED'],
  ['reserved bit 2', frame({ first: FIN | 0x20 | BINARY }), 1002, 'FRAME_MALFORMED'],
  ['reserved bit 3', frame({ first: FIN | 0x10 | BINARY }), 1002, 'FRAME_MALFORMED'],
  ['a reserved opcode', frame({ first: FIN | 3 }), 1002, 'FRAME_MALFORMED'],
  ['a reserved control opcode', frame({ first: FIN | 11 }), 1002, 'FRAME_MALFORMED'],
  ['a frame without a mask', frame({ payload: text('A\n{}'), isMasked: false }), 1002, 'FRAME_MALFORMED'],
  ['a continuation of nothing', frame({ first: FIN | CONTINUATION, payload: text('x') }), 1002, 'FRAME_MALFORMED'],
  ['a frame within a fragmented one', Buffer.concat([frame({ first: BINARY, payload: text('x') }), frame({ payload: text('y') })]), 1002, 'FRAME_MALFORMED'],
  ['a fragmented ping', frame({ first: PING }), 1002, 'FRAME_MALFORMED'],
  ['a ping of 126 bytes', frame({ first: FIN | PING, payload: bytesOfLength(126) }), 1002, 'FRAME_MALFORMED'],
  ['a close of one byte', frame({ first: FIN | CLOSE, payload: Uint8Array.of(3) }), 1002, 'FRAME_MALFORMED'],
  ['a close code that may not be sent', frame({ first: FIN | CLOSE, payload: Uint8Array.of(0x03, 0xed) }), 1002, 'FRAME_MALFORMED'],
];

describe('a peer that breaks the rules', () => {
  it.each(FAULTS)('with %s is told and cut', async (_name, bytes, code, cause) => {
    const { port, frames, closes } = await openDoor();
    const { socket, got, isEnded } = await join(port);
    socket.write(frame({ payload: text('A\n{}') }));
    socket.write(bytes);
    await eventually(() => expect(got()).toEqual(frame({ first: FIN | CLOSE, payload: Uint8Array.of(code >> 8, code & 0xff), isMasked: false })));
    await eventually(() => expect(isEnded()).toBe(true));
    socket.end(frame({ payload: text('B\n{}') }));
    await eventually(() => expect(closes).toEqual([{ code: 1006, reason: '', cause, droppedEvents: 0 }]));
    expect(frames.map(String)).toEqual(['A\n{}']);
  });

  it('still gets its close code, and nothing after it, when an event comes by', async () => {
    const { port, closes, joined } = await openDoor();
    const { socket, got, isEnded } = await join(port);
    socket.write(frame({ first: FIN | 3 }));
    await eventually(() => expect(got().length).toBe(4));
    const { lane } = joined[0] as Connection;
    for (let count = 0; count < 3; count += 1) {
      lane.write(compose([{ bytes: Buffer.from('A\n{}'), roomEnd: 1, tagEnd: 1, fields: '', source: undefined, order: 0 }], lane.codec), 1);
      await turn();
    }
    await eventually(() => expect(isEnded()).toBe(true));
    socket.end();
    await eventually(() => expect(closes).toEqual([{ code: 1006, reason: '', cause: 'FRAME_MALFORMED', droppedEvents: 3 }]));
    expect(got().length).toBe(4);
  });

  it('cannot stay by not hanging up', async () => {
    const { port, closes, openSockets } = await openDoor();
    const { socket, isEnded } = await join(port);
    socket.write(frame({ first: FIN | 3 }));
    await eventually(() => expect(isEnded()).toBe(true));
    await eventually(() => expect(closes.length).toBe(1));
    await eventually(async () => expect(await openSockets()).toBe(0));
  });
});

describe('a handshake that is none', () => {
  it.each([
    ['no key', request({ 'Sec-WebSocket-Key': undefined })],
    ['a short key', request({ 'Sec-WebSocket-Key': 'c2hvcnQ=' })],
    ['no version', request({ 'Sec-WebSocket-Version': undefined })],
    ['an unknown version', request({ 'Sec-WebSocket-Version': '7' })],
    ['another protocol', request({ Upgrade: 'h2c' })],
    ['a subprotocol list that is none', request({ 'Sec-WebSocket-Protocol': 'a,,b' })],
    ['another method', request({}, 'POST')],
  ])('because of %s is refused with a problem and hung up on', async (_name, bytes) => {
    const { port, refused, joined, openSockets } = await openDoor();
    const { socket, got, isEnded } = await connectTo(port);
    socket.write(bytes);
    await eventually(() => expect(isEnded()).toBe(true));
    const [head, body] = got().toString().split('\r\n\r\n');
    expect(head).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(head?.toLowerCase()).toContain('content-type: application/problem+json');
    expect(head?.toLowerCase()).toContain(`content-length: ${Buffer.byteLength(body ?? '')}`);
    expect(JSON.parse(body ?? '')).toMatchObject({ status: 400, code: 'HANDSHAKE_INVALID', type: 'urn:carillon:error:HANDSHAKE_INVALID' });
    expect([refused, joined]).toEqual([['HANDSHAKE_INVALID'], []]);
    // The peer keeps its side open for as long as it likes; ours is gone.
    await eventually(async () => expect(await openSockets()).toBe(0));
  });
});
