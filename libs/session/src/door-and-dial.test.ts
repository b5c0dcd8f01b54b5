import { createServer, type Server } from 'node:http';
import { createServer as createNetServer, type AddressInfo, type Server as NetServer } from 'node:net';

import { DEFAULT_LIMITS, SUBPROTOCOL_V2 } from '@carillon/wire';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { dial, Door, LaneGroup, refuseUpgrade, type AcceptOptions, type Connection, type ConnectionHandler, type Dialled, type DialOptions } from './index.ts';

const shared = { limits: DEFAULT_LIMITS, laneMaxBytes: 1_000_000, group: new LaneGroup(100_000_000), ticks: { now: 0 } };
const deaf: ConnectionHandler = { frame: () => undefined, text: () => undefined, closed: () => undefined };
/** Waits for a condition; looks again every few milliseconds. */
const eventually = <T>(check: () => T | Promise<T>, intervalMs = 10): Promise<T> => vi.waitFor(check, { timeout: 10_000, interval: intervalMs });
const undo: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

/** Listens on a free port until the test ends, which fails when sockets are left by then. */
async function listenOn(server: Server | NetServer): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  undo.push(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

async function openDoor(accept: Partial<AcceptOptions> = {}): Promise<{ readonly url: string; readonly joined: Connection[] }> {
  const joined: Connection[] = [];
  const door = new Door(shared);
  const server = createServer();
  server.on('upgrade', (request, stream, head) => door.accept(request, stream, head, { handler: deaf, joined: (connection) => joined.push(connection), ...accept }));
  const url = `ws://127.0.0.1:${await listenOn(server)}`;
  undo.push(() => joined.map((connection) => connection.terminate()));
  return { url, joined };
}

async function dialTo(url: string, options: Partial<DialOptions> = {}): Promise<Dialled> {
  const dialled = await dial(url, { ...shared, handler: deaf, handshakeTimeoutMs: 2_000, signal: new AbortController().signal, ...options });
  if (dialled.ok) undo.push(() => dialled.connection.terminate());
  return dialled;
}

async function plainClient(url: string, protocols: string[] = [], options: object = {}): Promise<WebSocket> {
  const client = new WebSocket(url, protocols, options);
  undo.push(() => client.terminate());
  await new Promise((resolve, reject) => client.once('open', resolve).once('error', reject));
  return client;
}

/** The server side of a foreign implementation. */
async function plainServer(options: object): Promise<{ readonly url: string; readonly server: WebSocketServer }> {
  const http = createServer();
  const server = new WebSocketServer({ server: http, ...options });
  const url = `ws://127.0.0.1:${await listenOn(http)}`;
  undo.push(() => [...server.clients].map((client) => client.terminate()));
  return { url, server };
}

describe('the version of a connection', () => {
  it.each([
    [false, false, 1], [true, false, 1], [false, true, 1], [true, true, 2],
  ])('with a door that offers v2 (%s) and a dialler that does (%s) is %i', async (doorOffers, dialOffers, version) => {
    const { url, joined } = await openDoor({ offerV2: doorOffers });
    const dialled = await dialTo(url, { offerV2: dialOffers });
    expect(dialled.ok && dialled.connection.version).toBe(version);
    expect(joined.at(-1)?.version).toBe(version);
    expect(joined.at(-1)?.lane.codec.shared).toBe(true);
    expect(dialled.ok && dialled.connection.lane.codec.shared).toBe(false);
  });

  it('is chosen by what a plain client offers', async () => {
    const { url, joined } = await openDoor({ offerV2: true });
    expect((await plainClient(url)).protocol).toBe('');
    expect((await plainClient(url, [SUBPROTOCOL_V2])).protocol).toBe(SUBPROTOCOL_V2);
    expect((await plainClient(url, ['other.1', SUBPROTOCOL_V2])).protocol).toBe(SUBPROTOCOL_V2);
    expect(joined.map(({ version }) => version)).toEqual([1, 2, 2]);
  });

  it('falls back to 1 with a plain server that selects no subprotocol', async () => {
    const { url, server } = await plainServer({ handleProtocols: () => false });
    const dialled = await dialTo(url, { offerV2: true });
    expect(dialled.ok && dialled.connection.version).toBe(1);
    await eventually(() => expect(server.clients.size).toBe(1));
  });

  it('is 2 with a plain server that selects it', async () => {
    const { url } = await plainServer({});
    const dialled = await dialTo(url, { offerV2: true });
    expect(dialled.ok && dialled.connection.version).toBe(2);
  });
});

describe('compression', () => {
  it('is not agreed to when a client offers it', async () => {
    const { url } = await openDoor();
    expect((await plainClient(url, [], { perMessageDeflate: true })).extensions).toBe('');
  });

  it('is not offered to a server that has it', async () => {
    const { url, server } = await plainServer({ perMessageDeflate: true });
    const offered: (string | undefined)[] = [];
    server.on('connection', (client, request) => offered.push(request.headers['sec-websocket-extensions'], client.extensions));
    await dialTo(url);
    await eventually(() => expect(offered).toEqual([undefined, '']));
  });
});

describe('headers', () => {
  it('go both ways', async () => {
    const seen: unknown[] = [];
    const door = new Door(shared);
    const server = createServer();
    server.on('upgrade', (request, stream, head) => {
      seen.push(request.headers['x-hub']);
      door.accept(request, stream, head, { handler: deaf, headers: { 'X-Answer': 'a' }, joined: (connection) => undo.push(() => connection.terminate()) });
    });
    const dialled = await dialTo(`ws://127.0.0.1:${await listenOn(server)}`, { headers: { 'X-Hub': 'h' } });
    expect(seen).toEqual(['h']);
    expect(dialled.ok && dialled.headers['x-answer']).toBe('a');
    // Both look at the same clock, in whole milliseconds.
    const { aheadMs, uncertaintyMs } = (dialled.ok && dialled.clock) || { aheadMs: NaN, uncertaintyMs: NaN };
    expect(Math.abs(aheadMs)).toBeLessThanOrEqual(uncertaintyMs + 1);
  });
});

describe('a dial that fails', () => {
  it.each(['', 'nonsense', 'ftp://127.0.0.1/', 'ws://127.0.0.1/#part', 'ws://127.0.0.1:99999/'])('at the address %j says so and does not throw', async (url) => {
    const dialled = await dialTo(url);
    expect(dialled).toMatchObject({ ok: false });
    expect(!dialled.ok && dialled.reason).toMatch(/^.{3,}$/);
  });

  it('for a header that HTTP does not carry says so and does not throw', async () => {
    expect(await dialTo('ws://127.0.0.1:1/', { headers: { 'X-Name': 'a\nb' } })).toMatchObject({ ok: false });
  });

  it('at a port where nobody listens gives the reason', async () => {
    const server = createNetServer();
    const port = await listenOn(server);
    await new Promise((resolve) => server.close(resolve));
    const dialled = await dialTo(`ws://127.0.0.1:${port}`);
    expect(!dialled.ok && dialled.reason).toContain('ECONNREFUSED');
  });

  it('because the peer refused has the status and the code of its problem', async () => {
    const server = createServer();
    server.on('upgrade', (_request, stream) => refuseUpgrade(stream, 'OVERLOADED', 'try later'));
    const dialled = await dialTo(`ws://127.0.0.1:${await listenOn(server)}`, { offerV2: true });
    expect(dialled).toMatchObject({ ok: false, status: 503, code: 'OVERLOADED', reason: 'HTTP 503 OVERLOADED' });
  });

  it.each([
    ['text', 'not found'], ['JSON without a code', '{"code":7}'], ['a code with odd characters', '{"code":"A\\nB"}'], ['more than anybody would read', `{"code":"OVERLOADED","x":"${'x'.repeat(10_000)}"}`],
  ])('because the peer answered %s has the status alone', async (_name, body) => {
    const server = createServer((_request, response) => response.writeHead(404).end(body));
    const dialled = await dialTo(`ws://127.0.0.1:${await listenOn(server)}`);
    expect(dialled).toEqual({ ok: false, reason: 'HTTP 404', status: 404 });
  });

  it('because the peer says nothing ends at the handshake timeout', async () => {
    const server = createNetServer((socket) => undo.push(() => socket.destroy()));
    const dialled = await dialTo(`ws://127.0.0.1:${await listenOn(server)}`, { handshakeTimeoutMs: 50 });
    expect(!dialled.ok && dialled.reason).toMatch(/timed out/i);
  });

  it('because the caller aborts ends at once, before, during and after', async () => {
    const server = createNetServer((socket) => undo.push(() => socket.destroy()));
    const url = `ws://127.0.0.1:${await listenOn(server)}`;
    expect(await dialTo(url, { signal: AbortSignal.abort() })).toEqual({ ok: false, reason: 'aborted' });
    const controller = new AbortController();
    const dialling = dialTo(url, { signal: controller.signal });
    controller.abort();
    expect(await dialling).toEqual({ ok: false, reason: 'aborted' });
    const door = await openDoor();
    const later = new AbortController();
    const dialled = await dialTo(door.url, { signal: later.signal });
    later.abort();
    expect(dialled.ok && dialled.connection.isOpen).toBe(true);
  });

  it('leaves no socket behind', async () => {
    const server = createServer();
    server.on('upgrade', (_request, stream) => refuseUpgrade(stream, 'DRAINING'));
    const port = await listenOn(server);
    await dialTo(`ws://127.0.0.1:${port}`);
    await eventually(async () => {
      const open = await new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count)));
      expect(open).toBe(0);
    });
  });
});
