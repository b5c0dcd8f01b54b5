import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';

import { DEFAULT_LIMITS } from '@carillon/wire';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';

import { Door, Heartbeat, LaneGroup, type Connection, type ConnectionClose } from './index.ts';

/** Waits for a condition; looks again every few milliseconds. */
const eventually = <T>(check: () => T | Promise<T>, intervalMs = 10): Promise<T> => vi.waitFor(check, { timeout: 10_000, interval: intervalMs });
const undo: (() => unknown)[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const step of undo.splice(0).reverse()) await step();
});

const PING_EVERY = 5;
const PONG_WITHIN = 8;
const WRITE_WITHIN = 3;
const options = { pingIntervalMs: PING_EVERY * 1_000, pongTimeoutMs: PONG_WITHIN * 1_000, writeTimeoutMs: WRITE_WITHIN * 1_000 };

interface Watched { readonly heartbeat: Heartbeat; readonly url: string; readonly joined: Connection[]; readonly closes: Map<Connection, ConnectionClose>; readonly frames: string[] }

/** A door whose connections are watched; its seconds pass by hand. */
async function openDoor(inboundMaxBytes?: number): Promise<Watched> {
  const heartbeat = new Heartbeat({ ...options, ...(inboundMaxBytes === undefined ? {} : { inboundMaxBytes }) });
  const closes = new Map<Connection, ConnectionClose>();
  const [joined, frames]: [Connection[], string[]] = [[], []];
  const door = new Door({ limits: DEFAULT_LIMITS, laneMaxBytes: 50_000_000, group: new LaneGroup(100_000_000), ticks: heartbeat.ticks });
  const server = createServer();
  server.on('upgrade', (request, stream, head) =>
    door.accept(request, stream, head, {
      handler: {
        frame: (_connection, bytes) => frames.push(bytes.toString()),
        text: () => undefined,
        closed: (connection, close) => {
          heartbeat.forget(connection);
          closes.set(connection, close);
        },
      },
      joined: (connection) => {
        joined.push(connection);
        heartbeat.watch(connection);
      },
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  undo.push(() => new Promise((resolve) => server.close(resolve)), () => joined.map((connection) => connection.terminate()));
  return { heartbeat, url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, joined, closes, frames };
}

interface Peer { readonly client: WebSocket; readonly pings: () => number; readonly closes: string[] }

async function join(url: string, autoPong = true): Promise<Peer> {
  const client = new WebSocket(url, { autoPong });
  let pings = 0;
  const closes: string[] = [];
  client.on('ping', () => (pings += 1));
  client.on('close', (code, reason) => closes.push(`${code} ${reason.toString()}`));
  client.on('error', () => undefined);
  undo.push(() => client.terminate());
  await new Promise((resolve) => client.once('open', resolve));
  return { client, pings: () => pings, closes };
}

const tick = (heartbeat: Heartbeat, seconds: number): void => {
  for (let second = 0; second < seconds; second += 1) heartbeat.tick();
};

describe('a heartbeat', () => {
  it('pings every connection once an interval, each at a second of its own', async () => {
    const { heartbeat, url, joined } = await openDoor();
    const peers = [await join(url), await join(url), await join(url)];
    const order: number[] = [];
    for (const [at, { client }] of peers.entries()) client.on('ping', () => order.push(at));
    let pinged = 0;
    for (let second = 1; second <= 2 * PING_EVERY; second += 1) {
      heartbeat.tick();
      const due = joined.filter(({ pingTick }) => pingTick === second).length;
      expect(due).toBeLessThanOrEqual(1);
      pinged += due;
      await eventually(() => expect([order.length, joined.every(({ pingTick }) => pingTick === undefined)]).toEqual([pinged, true]), 1);
    }
    expect(order.sort()).toEqual([0, 0, 1, 1, 2, 2]);
  });

  it('leaves those alone that answer', async () => {
    const { heartbeat, url, joined, closes } = await openDoor();
    await join(url);
    for (let second = 0; second < 4 * PONG_WITHIN; second += 1) {
      heartbeat.tick();
      await eventually(() => expect(joined[0]?.pingTick).toBeUndefined(), 1);
    }
    expect([closes.size, joined[0]?.isOpen]).toEqual([0, true]);
  });

  it('takes a frame for an answer', async () => {
    const { heartbeat, url, joined, frames } = await openDoor();
    const { client } = await join(url, false);
    tick(heartbeat, PING_EVERY);
    expect(joined[0]?.pingTick).toBe(PING_EVERY);
    client.send(Buffer.from('A\n{}'));
    await eventually(() => expect(frames.length).toBe(1));
    expect([joined[0]?.pingTick, joined[0]?.readTick]).toEqual([undefined, PING_EVERY]);
    tick(heartbeat, PONG_WITHIN);
    expect(joined[0]?.isOpen).toBe(true);
  });

  it('cuts the one that does not answer, a moment after its time and not before', async () => {
    const { heartbeat, url, joined, closes } = await openDoor();
    const { closes: seen } = await join(url, false);
    tick(heartbeat, PING_EVERY + PONG_WITHIN);
    expect(joined[0]?.isOpen).toBe(true);
    tick(heartbeat, 1);
    await eventually(() => expect(seen).toEqual(['4002 PEER_UNRESPONSIVE']));
    await eventually(() => expect([...closes.values()]).toEqual([{ code: 4_002, reason: 'PEER_UNRESPONSIVE', cause: 'PEER_UNRESPONSIVE', droppedEvents: 0 }]));
  });

  it('cuts the one that takes no byte', async () => {
    const { heartbeat, url, joined, closes } = await openDoor();
    const { client } = await join(url);
    const connection = joined[0] as Connection;
    client.pause();
    let written = 0;
    while (connection.lane.queuedBytes === 0) {
      connection.lane.write(Buffer.alloc(1_000_000), 1);
      written += 1;
      await new Promise((resolve) => setImmediate(resolve));
    }
    // What the kernel still takes comes first; then nothing moves any more.
    await eventually(() => expect(connection.lane.isStalled()).toBe(true), 20);
    tick(heartbeat, WRITE_WITHIN);
    expect([connection.isOpen, connection.lane.closed]).toEqual([true, false]);
    tick(heartbeat, 1);
    expect(connection.lane.closed).toBe(true);
    await eventually(() => expect([...closes.values()]).toEqual([expect.objectContaining({ cause: 'PEER_STALLED' })]));
    expect(connection.lane.writtenEvents + (closes.get(connection)?.droppedEvents ?? 0)).toBe(written);
  });

  it('forgets who has left', async () => {
    const { heartbeat, url, joined } = await openDoor();
    const { pings } = await join(url);
    heartbeat.forget(joined[0] as Connection);
    tick(heartbeat, 3 * PING_EVERY);
    expect([joined[0]?.pingTick, pings()]).toEqual([undefined, 0]);
  });

  it('beats once a second from start to stop', () => {
    vi.useFakeTimers();
    const heartbeat = new Heartbeat(options);
    heartbeat.start();
    heartbeat.start();
    vi.advanceTimersByTime(3_500);
    expect(heartbeat.ticks.now).toBe(3);
    heartbeat.stop();
    heartbeat.stop();
    vi.advanceTimersByTime(10_000);
    expect(heartbeat.ticks.now).toBe(3);
  });
});

describe('messages that begin and do not end', () => {
  /** Header of a masked binary frame of `length` bytes, and its first `sent` bytes. */
  const begin = (length: number, sent: number): Buffer => {
    const header = Buffer.alloc(14);
    header.set([0x82, 0x80 | 127]);
    header.writeBigUInt64BE(BigInt(length), 2);
    return Buffer.concat([header, Buffer.alloc(sent, 0x41)]);
  };

  async function dribble(door: Watched, sent: number): Promise<void> {
    const { hostname, port } = new URL(door.url);
    const socket = connect({ host: hostname, port: Number(port) });
    undo.push(() => socket.destroy());
    socket.on('error', () => undefined);
    socket.write(`GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`);
    await new Promise((resolve) => socket.once('data', resolve));
    socket.write(begin(900_000, sent));
  }

  it('are cut, the largest first, once they hold too much together; a peer that sends whole ones is not', async () => {
    const door = await openDoor(1_000_000);
    const whole = new WebSocket(door.url);
    undo.push(() => whole.terminate());
    await new Promise((resolve) => whole.once('open', resolve));
    for (const sent of [300_000, 600_000, 500_000]) await dribble(door, sent);
    await eventually(() => expect(door.joined.slice(1).map((connection) => connection.partialBytes() > 299_000)).toEqual([true, true, true]));
    for (let sent = 0; sent < 20; sent += 1) whole.send(Buffer.alloc(100_000, 'A\n'));
    await eventually(() => expect(door.frames.length).toBe(20));

    door.heartbeat.tick();

    await eventually(() => expect(door.closes.size).toBe(1));
    expect([...door.closes.keys()]).toEqual([door.joined[2]]);
    expect([...door.closes.values()][0]?.cause).toBe('MEMORY_PRESSURE');
    door.heartbeat.tick();
    expect(whole.readyState).toBe(WebSocket.OPEN);
  });

  it('are not what pings and pongs are', async () => {
    const door = await openDoor(1_048_576);
    const peer = new WebSocket(door.url);
    undo.push(() => peer.terminate());
    await new Promise((resolve) => peer.once('open', resolve));
    for (let sent = 0; sent < 500; sent += 1) peer.pong(Buffer.alloc(100));
    const answered = new Promise((resolve) => peer.once('pong', resolve));
    peer.ping();
    await answered; // so all that came before has been read
    expect(door.joined[0]?.partialBytes()).toBe(0);
  });
});
