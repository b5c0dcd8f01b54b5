import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { createServer as createNetServer, type AddressInfo, type Server as NetServer } from 'node:net';

import { DEFAULT_LIMITS } from '@carillon/wire';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { dial, Door, keepConnected, LaneGroup, type Connection, type ConnectionHandler, type KeepConnectedOptions } from './index.ts';

const shared = { limits: DEFAULT_LIMITS, laneMaxBytes: 1_000_000, group: new LaneGroup(10_000_000), ticks: { now: 0 } };
const deaf: ConnectionHandler = { frame: () => undefined, text: () => undefined, closed: () => undefined };
/** Waits for a condition; looks again every few milliseconds. */
const eventually = <T>(check: () => T | Promise<T>, intervalMs = 10): Promise<T> => vi.waitFor(check, { timeout: 10_000, interval: intervalMs });
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

const stop = (server: Server | NetServer): Promise<unknown> => new Promise((resolve) => server.close(resolve));

async function listenOn(server: Server | NetServer, port = 0): Promise<number> {
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  undo.push(() => stop(server));
  return (server.address() as AddressInfo).port;
}

interface Hub { readonly port: number; readonly joined: Connection[]; readonly closes: number[]; readonly stop: () => Promise<unknown> }

/** A hub that does `greet` with each connection. */
async function openHub(greet: (connection: Connection) => void = () => undefined, port = 0): Promise<Hub> {
  const [joined, closes]: [Connection[], number[]] = [[], []];
  const door = new Door(shared);
  const server = createServer();
  const handler: ConnectionHandler = { ...deaf, closed: (_connection, close) => closes.push(close.code) };
  server.on('upgrade', (request, stream, head) =>
    door.accept(request, stream, head, {
      handler,
      joined: (connection) => {
        joined.push(connection);
        greet(connection);
      },
    }),
  );
  const at = await listenOn(server, port);
  const hangUp = (): Promise<unknown> => {
    for (const connection of joined) connection.terminate();
    return stop(server);
  };
  undo.push(hangUp);
  return { port: at, joined, closes, stop: hangUp };
}

interface Kept { readonly ups: Connection[]; readonly downs: { reason: string; code: string | undefined; nextTryMs: number }[]; readonly heard: string[]; readonly done: Promise<void>; readonly abort: AbortController }

function keep(port: number, options: Partial<KeepConnectedOptions> = {}): Kept {
  const [ups, downs, heard, abort]: [Connection[], Kept['downs'], string[], AbortController] = [[], [], [], new AbortController()];
  const done = keepConnected({
    dial: (handler, signal) => dial(`ws://127.0.0.1:${port}`, { ...shared, handler, handshakeTimeoutMs: 2_000, signal }),
    handler: { frame: (_connection, bytes) => heard.push(bytes.toString()), text: (_connection, text) => heard.push(text), closed: (_connection, { code }) => heard.push(`closed ${code}`) },
    backoff: { firstMs: 20, capMs: 100, factor: 2, random: () => 0.5 },
    stableMs: 60_000,
    signal: abort.signal,
    up: ({ connection }) => {
      ups.push(connection);
      heard.push('up');
    },
    down: (ended, nextTryMs) => downs.push({ ...ended, nextTryMs }),
    ...options,
  });
  undo.push(async () => {
    abort.abort();
    await done;
  });
  return { ups, downs, heard, done, abort };
}

const waitsOf = ({ downs }: Kept): number[] => downs.map(({ nextTryMs }) => nextTryMs);

describe('a kept connection', () => {
  it('comes back after the server has restarted', async () => {
    const first = await openHub();
    const kept = keep(first.port);
    await eventually(() => expect(kept.ups.length).toBe(1));
    await first.stop();
    await eventually(() => expect(kept.downs.length).toBeGreaterThanOrEqual(2));
    expect(kept.downs[0]).toMatchObject({ reason: 'closed with 1006', code: undefined });
    expect(kept.downs[1]?.reason).toContain('ECONNREFUSED');
    await openHub(undefined, first.port);
    await eventually(() => expect(kept.ups.length).toBe(2));
    expect(kept.ups[1]?.isOpen).toBe(true);
    expect(kept.heard).toEqual(['up', 'closed 1006', 'up']);
  });

  it('waits by the random numbers it is given, longer after each try', async () => {
    const { port, stop: stopHub } = await openHub();
    await stopHub();
    const kept = keep(port, { backoff: { firstMs: 4, capMs: 20, factor: 2, random: () => 0.75 } });
    await eventually(() => expect(kept.downs.length).toBeGreaterThanOrEqual(5));
    expect(waitsOf(kept).slice(0, 5)).toEqual([3, 6, 12, 15, 15]);
  });

  it('waits no shorter than the hint of its peer', async () => {
    const { port } = await openHub((connection) => connection.refuse('DRAINING', 300));
    const kept = keep(port, { backoff: { firstMs: 20, capMs: 100, factor: 2, random: () => 0 } });
    await eventually(() => expect(kept.downs.length).toBe(1));
    const downAtMs = performance.now();
    expect(kept.downs).toEqual([{ reason: 'closed with 1012 DRAINING retry-after-ms=300', code: 'DRAINING', nextTryMs: 300 }]);
    await eventually(() => expect(kept.ups.length).toBe(2));
    expect(performance.now() - downAtMs).toBeGreaterThan(250);
  });

  it('adds its own wait to the hint, so that peers do not come back together', async () => {
    const { port } = await openHub((connection) => connection.refuse('OVERLOADED', 40));
    const kept = keep(port);
    await eventually(() => expect(kept.downs.length).toBe(2));
    expect(waitsOf(kept).slice(0, 2)).toEqual([50, 60]);
  });

  it('does not start over after a connection that was dropped at once', async () => {
    const { port } = await openHub((connection) => connection.close(4_000, ''));
    const kept = keep(port, { backoff: { firstMs: 4, capMs: 1_000, factor: 2, random: () => 0.5 } });
    await eventually(() => expect(kept.downs.length).toBeGreaterThanOrEqual(3));
    expect(waitsOf(kept).slice(0, 3)).toEqual([2, 4, 8]);
  });

  it('starts over after one that lasted', async () => {
    const { port } = await openHub((connection) => connection.close(4_000, ''));
    const kept = keep(port, { stableMs: 0, backoff: { firstMs: 4, capMs: 1_000, factor: 2, random: () => 0.5 } });
    await eventually(() => expect(kept.downs.length).toBeGreaterThanOrEqual(3));
    expect(waitsOf(kept).slice(0, 3)).toEqual([2, 2, 2]);
  });

  it('is known to its owner before its first frame, also when that came with the handshake', async () => {
    const server = createNetServer((socket) => {
      undo.push(() => socket.destroy());
      socket.once('data', (bytes) => {
        const key = /sec-websocket-key: (.*)\r\n/i.exec(bytes.toString())?.[1] ?? '';
        const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
        const answer = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;
        socket.write(Buffer.concat([Buffer.from(answer), Buffer.from([0x82, 4]), Buffer.from('A\n{}'), Buffer.from([0x81, 2]), Buffer.from('{}')]));
      });
    });
    const kept = keep(await listenOn(server));
    await eventually(() => expect(kept.heard).toEqual(['up', 'A\n{}', '{}']));
  });

  it('goes on when its address can never be dialled', async () => {
    const kept = keep(0, { dial: (handler, signal) => dial('nonsense', { ...shared, handler, handshakeTimeoutMs: 100, signal }) });
    await eventually(() => expect(kept.downs.length).toBeGreaterThanOrEqual(2));
    expect(kept.downs[0]?.reason).toContain('nonsense');
  });
});

describe('an abort', () => {
  it('closes what is open with 1001, and ends', async () => {
    const { port, closes } = await openHub();
    const kept = keep(port);
    await eventually(() => expect(kept.ups.length).toBe(1));
    kept.abort.abort();
    await kept.done;
    await eventually(() => expect(closes).toEqual([1001]));
    expect([kept.heard, kept.downs]).toEqual([['up', 'closed 1001'], []]);
  });

  it('ends a wait', async () => {
    const { port, stop: stopHub } = await openHub();
    await stopHub();
    const kept = keep(port, { backoff: { firstMs: 3_600_000, capMs: 3_600_000, factor: 1, random: () => 0.99 } });
    await eventually(() => expect(kept.downs.length).toBe(1));
    kept.abort.abort();
    await kept.done;
    expect(kept.ups).toEqual([]);
  });

  it('ends a dial that nobody answers', async () => {
    const dialled: string[] = [];
    const server = createNetServer((socket) => {
      dialled.push('dialled');
      undo.push(() => socket.destroy());
    });
    const kept = keep(await listenOn(server));
    await eventually(() => expect(dialled.length).toBe(1));
    kept.abort.abort();
    await kept.done;
    expect([kept.ups, kept.downs]).toEqual([[], []]);
  });

  it('before the start means that nothing is dialled', async () => {
    const { port, joined } = await openHub();
    await keep(port, { signal: AbortSignal.abort() }).done;
    expect(joined).toEqual([]);
  });
});
