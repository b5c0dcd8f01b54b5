import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { eventually } from './eventually.ts';
import { startFaultProxy } from './fault-proxy.ts';
import { freePort } from './free-port.ts';
import { stopAll } from './owned-by-test.ts';
import { trackResources } from './track-resources.ts';

let targetPort: number;
let echo: Server;
let atTarget: Socket[];
let released: () => Promise<void>;

beforeEach(async () => {
  released = trackResources();
  atTarget = [];
  targetPort = await freePort();
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    atTarget.push(socket);
    socket.on('error', () => undefined);
    socket.pipe(socket);
  }).listen(targetPort, '127.0.0.1');
  await once(echo, 'listening');
});

afterEach(async () => {
  await stopAll();
  for (const socket of atTarget) socket.destroy();
  echo.close();
  await released();
});

interface Peer {
  readonly socket: Socket;
  received(): Buffer;
  readonly closed: Promise<unknown>;
}

async function dial(port: number): Promise<Peer> {
  const socket = connect({ port, host: '127.0.0.1' });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return { socket, received: () => Buffer.concat(chunks), closed };
}

/** Fifty times there and back without the proxy: whatever the proxy had let through would have arrived by then. */
async function goStraightToTheTarget(): Promise<void> {
  const direct = await dial(targetPort);
  for (let trip = 1; trip <= 50; trip += 1) {
    direct.socket.write('.');
    await eventually(() => direct.received().length >= trip, { intervalMs: 1 });
  }
  direct.socket.destroy();
}

describe('startFaultProxy', () => {
  it('forwards both ways, every byte in order, and passes ends on', async () => {
    const proxy = await startFaultProxy({ targetPort });
    const peer = await dial(proxy.port);
    const sent = Buffer.from(Array.from({ length: 1_000_000 }, (_, index) => index % 251));
    peer.socket.end(sent);
    await peer.closed;

    expect(peer.received().equals(sent)).toBe(true);
    await eventually(() => proxy.connectionCount === 0);
  });

  it('cuts every connection, refuses new ones, and heals', async () => {
    const proxy = await startFaultProxy({ targetPort });
    const peer = await dial(proxy.port);
    await eventually(() => atTarget.length === 1);

    proxy.cut();

    await peer.closed;
    await eventually(() => atTarget[0]?.destroyed === true);
    await expect(dial(proxy.port)).rejects.toThrow(/ECONNREFUSED/);

    await proxy.heal();
    const again = await dial(proxy.port);
    again.socket.write('hello');
    await eventually(() => again.received().toString() === 'hello');
    again.socket.destroy();
  });

  it('stalls without closing, and goes on where it was', async () => {
    const proxy = await startFaultProxy({ targetPort });
    const peer = await dial(proxy.port);
    peer.socket.write('one');
    await eventually(() => peer.received().toString() === 'one');

    proxy.stall();
    peer.socket.write(',two');
    const newcomer = await dial(proxy.port);
    newcomer.socket.write('new');
    await goStraightToTheTarget();
    expect(peer.received().toString()).toBe('one');
    expect(newcomer.received().toString()).toBe('');
    expect(peer.socket.destroyed).toBe(false);

    await proxy.heal();
    await eventually(() => peer.received().toString() === 'one,two' && newcomer.received().toString() === 'new');
    peer.socket.destroy();
    newcomer.socket.destroy();
  });

  it('does not pass on the end of a connection while stalled', async () => {
    const proxy = await startFaultProxy({ targetPort });
    const peer = await dial(proxy.port);
    await eventually(() => atTarget.length === 1);

    proxy.stall();
    peer.socket.resetAndDestroy();
    await goStraightToTheTarget();
    expect(atTarget[0]?.destroyed).toBe(false);

    await proxy.heal();
    await eventually(() => atTarget[0]?.destroyed === true);
  });

  it('abandons clients without the target\'s noticing, takes new ones, and ends the old ones when it heals', async () => {
    const proxy = await startFaultProxy({ targetPort });
    const peer = await dial(proxy.port);
    await eventually(() => atTarget.length === 1);

    proxy.abandon();
    await peer.closed;
    const again = await dial(proxy.port);
    again.socket.write('hello');
    await eventually(() => again.received().toString() === 'hello');
    expect([atTarget[0]?.destroyed, atTarget[0]?.readableEnded, proxy.connectionCount]).toEqual([false, false, 2]);

    await proxy.heal();
    await eventually(() => atTarget[0]?.destroyed === true && proxy.connectionCount === 1);
    expect(again.socket.destroyed).toBe(false);
    again.socket.destroy();
  });

  it('stops with clients abandoned', async () => {
    const proxy = await startFaultProxy({ targetPort });
    await dial(proxy.port);
    await eventually(() => atTarget.length === 1);
    proxy.abandon();

    await proxy.stop();

    await eventually(() => atTarget[0]?.destroyed === true);
  });

  it('limits what flows toward the client', async () => {
    const proxy = await startFaultProxy({ targetPort });
    proxy.limitBytesPerSecond(100_000);
    const peer = await dial(proxy.port);
    const startedAt = performance.now();
    peer.socket.write(Buffer.alloc(50_000));
    await eventually(() => peer.received().length === 50_000);
    expect(performance.now() - startedAt).toBeGreaterThan(400);

    proxy.limitBytesPerSecond(Number.POSITIVE_INFINITY);
    peer.socket.write(Buffer.alloc(5_000_000));
    await eventually(() => peer.received().length === 5_050_000);
    peer.socket.destroy();
  });

  it('closes the client when there is no target', async () => {
    const proxy = await startFaultProxy({ targetPort: await freePort() });
    const peer = await dial(proxy.port);

    await peer.closed;
  });

  it('stops with connections open, stalled or not, twice', async () => {
    const proxy = await startFaultProxy({ targetPort });
    const peer = await dial(proxy.port);
    proxy.stall();

    await Promise.all([proxy.stop(), proxy.stop()]);

    await peer.closed;
    await expect(dial(proxy.port)).rejects.toThrow(/ECONNREFUSED/);
  });
});
