import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { DEFAULT_LIMITS, encodeFrame, type ErrorCode } from '@carillon/wire';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WebSocket, type RawData } from 'ws';

import { BatchWriter, compose, createRoute, dial, Door, LaneGroup, type Connection, type ConnectionClose, type ConnectionHandler, type OutboundEvent } from './index.ts';

interface Heard { readonly frames: Buffer[]; readonly texts: string[]; readonly closes: ConnectionClose[]; readonly handler: ConnectionHandler }

function listen(): Heard {
  const [frames, texts, closes]: [Buffer[], string[], ConnectionClose[]] = [[], [], []];
  const handler: ConnectionHandler = {
    frame: (_connection, bytes) => frames.push(Buffer.from(bytes)),
    text: (_connection, text) => texts.push(text),
    closed: (_connection, close) => closes.push(close),
  };
  return { frames, texts, closes, handler };
}

/** Waits for a condition; looks again every few milliseconds. */
const eventually = <T>(check: () => T | Promise<T>, intervalMs = 10): Promise<T> => vi.waitFor(check, { timeout: 10_000, interval: intervalMs });
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

const LANE_MAX_BYTES = 4_000_000;
const group = new LaneGroup(100_000_000);
const shared = { limits: DEFAULT_LIMITS, laneMaxBytes: LANE_MAX_BYTES, group, ticks: { now: 0 } };

async function openDoor(): Promise<{ readonly url: string; readonly joined: Connection[]; readonly heard: Heard }> {
  const [joined, heard, door, server]: [Connection[], Heard, Door, ReturnType<typeof createServer>] = [[], listen(), new Door(shared), createServer()];
  server.on('upgrade', (request, stream, head) => door.accept(request, stream, head, { handler: heard.handler, offerV2: true, joined: (connection) => joined.push(connection) }));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  undo.push(() => new Promise((resolve) => server.close(resolve)), () => joined.map((connection) => connection.terminate()));
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, joined, heard };
}

/** A plain `ws` client that keeps what it got. */
async function plainClient(url: string): Promise<{ readonly client: WebSocket; readonly got: Buffer[]; readonly closes: string[] }> {
  const client = new WebSocket(url);
  const [got, closes]: [Buffer[], string[]] = [[], []];
  client.on('message', (bytes: RawData) => got.push(bytes as Buffer));
  client.on('close', (code, reason) => closes.push(`${code} ${reason.toString()}`));
  client.on('error', (error) => closes.push(error.message));
  undo.push(() => client.terminate());
  await new Promise((resolve) => client.once('open', resolve));
  return { client, got, closes };
}

async function dialTo(url: string): Promise<{ readonly connection: Connection; readonly heard: Heard }> {
  const heard = listen();
  const dialled = await dial(url, { ...shared, handler: heard.handler, handshakeTimeoutMs: 2_000, signal: new AbortController().signal });
  if (!dialled.ok) throw new Error(dialled.reason);
  undo.push(() => dialled.connection.terminate());
  return { connection: dialled.connection, heard };
}

const outbound = (bytes: Uint8Array, roomEnd = 1): OutboundEvent => ({ bytes: Buffer.from(bytes), roomEnd, tagEnd: roomEnd, fields: '', source: undefined, order: 0 });
const write = (connection: Connection, ...events: OutboundEvent[]): void => connection.lane.write(compose(events, connection.lane.codec), events.length);
const numbered = (number: number, bytes: number): OutboundEvent => outbound(encodeFrame('A', `${number}`.padEnd(bytes)));
const numberOf = (frame: Buffer): number => Number(frame.subarray(2, 20).toString());
const upTo = (count: number): number[] => Array.from({ length: count }, (_, at) => at);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Writes 100 kB events until the peer's kernel and Node take no more and `waitingBytes` wait in the lane. */
async function backlog(connection: Connection, waitingBytes: number): Promise<number> {
  let count = 0;
  while (connection.lane.queuedBytes < waitingBytes && !connection.lane.closed) {
    write(connection, numbered(count, 100_000));
    count += 1;
    await turn();
  }
  return count;
}

const SIZES = [0, 1, 125, 126, 65_535, 65_536, DEFAULT_LIMITS.frameMaxBytes];

describe('frames between two sides', () => {
  it('arrive byte for byte, whichever side dialled', async () => {
    const { url, joined, heard } = await openDoor();
    const there = await dialTo(url);
    const frames = SIZES.map((size) => Buffer.from(Uint8Array.from({ length: size }, (_, at) => (at * 7 + size) & 0xff)));
    for (const frame of frames) {
      write(there.connection, outbound(frame, 0));
      write(joined[0] as Connection, outbound(frame, 0));
    }
    await eventually(() => expect([heard.frames.length, there.heard.frames.length]).toEqual([SIZES.length, SIZES.length]));
    for (const [at, frame] of frames.entries()) expect([heard.frames[at]?.equals(frame), there.heard.frames[at]?.equals(frame)]).toEqual([true, true]);
    expect(joined[0]?.receivedFrames).toBe(SIZES.length);
  });

  it('arrive at and from a plain client', async () => {
    const { url, joined, heard } = await openDoor();
    const { client, got } = await plainClient(url);
    client.send(Buffer.from('A\n{}'));
    client.send('{"rooms":["é"]}');
    client.send('');
    write(joined[0] as Connection, outbound(Buffer.from('B\n{}')), outbound(Buffer.from('C\n\n{}')));
    joined[0]?.sendText('{"op":"bye"}');
    await eventually(() => expect([heard.frames.map(String), heard.texts, got.map(String)]).toEqual([['A\n{}'], ['{"rooms":["é"]}', ''], ['B\n{}', 'C\n\n{}', '{"op":"bye"}']]));
  });
});

describe('the end of a connection', () => {
  it('has the code and the reason of whoever closed it, once on each side', async () => {
    const { url, joined, heard } = await openDoor();
    const there = await dialTo(url);
    joined[0]?.refuse('DRAINING', 1_500);
    joined[0]?.refuse('INTERNAL');
    joined[0]?.close(1_000, 'again');
    await eventually(() => expect([heard.closes.length, there.heard.closes.length]).toEqual([1, 1]));
    expect(there.heard.closes[0]).toEqual({ code: 1012, reason: 'DRAINING retry-after-ms=1500', cause: undefined, droppedEvents: 0 });
    expect(heard.closes[0]).toEqual({ code: 1012, reason: 'DRAINING retry-after-ms=1500', cause: 'DRAINING', droppedEvents: 0 });
    await joined[0]?.gone;
    expect(joined[0]?.isOpen).toBe(false);
  });

  it('makes a peer that was only to come back later one that is heard no more, once it is refused', async () => {
    const { url, joined, heard } = await openDoor();
    const { client } = await plainClient(url);
    client.pause();
    joined[0]?.refuse('DRAINING');
    client.send(Buffer.from('A\nbefore'));
    await eventually(() => expect(heard.frames.length).toBe(1));
    joined[0]?.refuse('ACCESS_KEY_REVOKED');
    client.send(Buffer.from('A\nafter'));
    client.resume();
    await eventually(() => expect(heard.closes).toEqual([expect.objectContaining({ code: 1012, reason: 'DRAINING' })]));
    expect(heard.frames.length).toBe(1);
  });

  it('is no fault of ours when the peer wanted it', async () => {
    const { url, heard } = await openDoor();
    const { client } = await plainClient(url);
    client.close(4_321, 'enough');
    await eventually(() => expect(heard.closes).toEqual([{ code: 4_321, reason: 'enough', cause: undefined, droppedEvents: 0 }]));
  });

  it('is 1006 when the peer vanishes', async () => {
    const { url, heard } = await openDoor();
    const { client } = await plainClient(url);
    client.terminate();
    await eventually(() => expect(heard.closes).toEqual([{ code: 1006, reason: '', cause: undefined, droppedEvents: 0 }]));
  });

  it.each<[ErrorCode, number]>([['FRAME_LINE_FEED_MISSING', 4_500], ['ROOM_NAME_INVALID', 4_501], ['OVERLOADED', 1_013], ['CONTROL_INVALID', 1_011]])('for %s has the close code %i', async (code, close) => {
    const { url, joined, heard } = await openDoor();
    const { closes } = await plainClient(url);
    joined[0]?.refuse(code);
    await eventually(() => expect(closes).toEqual([`${close} ${code}`]));
    await eventually(() => expect(heard.closes[0]?.cause).toBe(code));
  });

  it('comes after what the lane holds', async () => {
    const { url, joined, heard } = await openDoor();
    const { client, got, closes } = await plainClient(url);
    client.pause();
    const connection = joined[0] as Connection;
    const count = await backlog(connection, 1_000_000);
    connection.refuse('DRAINING');
    client.resume();
    await eventually(() => expect(closes).toEqual(['1012 DRAINING']));
    expect(got.map(numberOf)).toEqual(upTo(count));
    await eventually(() => expect(heard.closes).toEqual([{ code: 1012, reason: 'DRAINING', cause: 'DRAINING', droppedEvents: 0 }]));
  });

  it('is the end: what is written after it does not leave, and is counted as dropped', async () => {
    const { url, joined, heard } = await openDoor();
    const { got, closes } = await plainClient(url);
    const connection = joined[0] as Connection;
    const writer = new BatchWriter();
    write(connection, numbered(0, 100));
    connection.refuse('DRAINING');
    writer.add(numbered(1, 100), createRoute([connection.lane]));
    writer.flush();
    write(connection, numbered(2, 100), numbered(3, 100));
    await eventually(() => expect(heard.closes).toEqual([expect.objectContaining({ code: 1012, droppedEvents: 3 })]));
    expect([got.map(numberOf), closes]).toEqual([[0], ['1012 DRAINING']]);
    expect([connection.lane.writtenEvents, writer.counts.deliveries]).toEqual([1, 0]);
  });

  it('drops what waits for a peer that has closed, and counts it', async () => {
    const { url, joined, heard } = await openDoor();
    const { client, got } = await plainClient(url);
    client.pause();
    const count = await backlog(joined[0] as Connection, 1_000_000);
    client.close(1_000);
    await eventually(() => expect(heard.closes.length).toBe(1));
    const [close] = heard.closes;
    expect(close).toMatchObject({ code: 1_000, cause: undefined });
    expect(close?.droppedEvents).toBeGreaterThanOrEqual(10);
    expect((joined[0]?.lane.writtenEvents ?? 0) + (close?.droppedEvents ?? 0)).toBe(count);
    expect(got.length).toBeLessThan(count);
    expect(group.queuedBytes).toBe(0);
  });

  it('does not wait for a peer that never answers', async () => {
    const { url, joined, heard } = await openDoor();
    const { client } = await plainClient(url);
    client.pause();
    joined[0]?.refuse('PEER_UNRESPONSIVE');
    await eventually(() => expect(heard.closes).toEqual([{ code: 1006, reason: '', cause: 'PEER_UNRESPONSIVE', droppedEvents: 0 }]));
  });
});

describe('a peer that does not read', () => {
  it('is cut with PEER_SLOW while the others go on', async () => {
    const { url, joined, heard } = await openDoor();
    const slow = await plainClient(url);
    const fast = await plainClient(url);
    const lanes = joined.map(({ lane }) => lane);
    slow.client.pause();
    const writer = new BatchWriter();
    const route = createRoute(lanes);
    let sent = 0;
    while (lanes[0]?.closed === false) {
      writer.add(numbered(sent, 100_000), route);
      sent += 1;
      await eventually(() => expect(fast.got.length).toBe(sent), 0);
      expect(group.queuedBytes).toBeLessThanOrEqual(LANE_MAX_BYTES);
    }
    slow.client.resume();
    await eventually(() => expect(slow.closes).toEqual(['4000 PEER_SLOW']));
    await eventually(() => expect(heard.closes).toEqual([{ code: 4_000, reason: 'PEER_SLOW', cause: 'PEER_SLOW', droppedEvents: expect.any(Number) as number }]));
    expect(slow.got.map(numberOf)).toEqual(upTo(slow.got.length));
    expect(slow.got.length + (heard.closes[0]?.droppedEvents ?? 0)).toBe(sent);
    expect(fast.got.map(numberOf)).toEqual(upTo(sent));
    expect([lanes[1]?.closed, fast.closes]).toEqual([false, []]);
  });

  it('does not make the process hold control frames for it without bound', async () => {
    const { url, joined } = await openDoor();
    const { client, got, closes } = await plainClient(url);
    client.pause();
    // 200 MB, of which the kernel takes a few and Node may hold 64 KiB.
    for (let count = 0; count < 20_000; count += 1) {
      joined[0]?.sendText('x'.repeat(10_000));
      if (count % 500 === 0) await turn();
    }
    joined[0]?.refuse('DRAINING');
    client.resume();
    await eventually(() => expect(closes).toEqual(['1012 DRAINING']));
    expect(got.length).toBeGreaterThan(0);
    expect(got.length * 10_000).toBeLessThan(50_000_000);
  });
});
