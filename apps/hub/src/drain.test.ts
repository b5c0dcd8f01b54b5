import { createServer, type AddressInfo } from 'node:net';

import { createInProcessExchange } from '@carillon/bus';
import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { closeAll, codeOf, connectPeer, connectRaw, joinRooms, onClose, openTail, startTestHub, upgradeHead } from './hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const COME_BACK = { CARILLON_HUB_COME_BACK_MIN_MS: '400', CARILLON_HUB_COME_BACK_MAX_MS: '900' };
const EVENT = '{"affected-room":{"roomID":"A"}}';

describe('a hub that stops', () => {
  it('closes every peer with 1012, and a time to come back that is within bounds and not the same for all', async () => {
    const hub = await startTestHub({ env: COME_BACK });
    const peers = await Promise.all(Array.from({ length: 30 }, (_, n) => connectPeer(hub, (['messenger', 'repeater', 'hub'] as const)[n % 3] ?? 'hub')));
    await hub.stop();
    const hints = new Set<number>();
    for (const peer of peers) {
      const { code, reason } = await peer.ended;
      const hint = Number(/^DRAINING retry-after-ms=(\d+)$/.exec(reason)?.[1]);
      expect([code, hint >= 400 && hint <= 900]).toEqual([1012, true]);
      hints.add(hint);
    }
    expect(hints.size).toBeGreaterThan(5);
  });

  it('gives everything that it took before to whom it is due, then closes', async () => {
    const hub = await startTestHub();
    const listener = await joinRooms(hub, 'A');
    const tail = await openTail(hub, '/rooms/A/events');
    const frames = Array.from({ length: 100 }, (_, n) => `A\n${n} ${'x'.repeat(10_000)}`);
    const writer = await connectPeer(hub, 'repeater');
    for (const frame of frames) writer.send(frame);
    await writer.heard();
    await hub.stop();
    expect((await listener.ended).code).toBe(1012);
    expect(listener.frames).toEqual(frames);
    await tail.ended;
    expect(tail.text().match(/^data: \d+ x/gm)).toHaveLength(100);
  });

  it('ends live tails with the time to come back', async () => {
    const hub = await startTestHub({ env: COME_BACK });
    const tails = [await openTail(hub, '/rooms/A/events'), await openTail(hub, '/rooms/*/events')];
    await hub.stop();
    for (const tail of tails) {
      await tail.ended;
      const retry = Number(/^retry: (\d+)\nevent: drain\ndata: \{"code":"DRAINING"\}\n\n$/m.exec(tail.text())?.[1]);
      expect(retry >= 400 && retry <= 900).toBe(true);
    }
  });

  it('is not ready, refuses new peers with DRAINING, takes what peers still say, and finishes requests, while it drains', async () => {
    const hub = await startTestHub();
    // A peer that does not answer the close holds the drain open for as long as a close may take.
    const silent = await connectRaw(hub.port);
    silent.socket.write(upgradeHead('/connect/messenger'));
    await eventually(() => silent.text().includes('101 '));
    const [late, tail, posting] = [await connectRaw(hub.port), await connectRaw(hub.port), await connectRaw(hub.port)];
    const head = upgradeHead('/connect/messenger');
    late.socket.write(head.slice(0, 20));
    tail.socket.write('GET /rooms/A/ev');
    posting.socket.write(`POST /event HTTP/1.1\r\nHost: hub\r\nContent-Length: ${EVENT.length}\r\n\r\n${EVENT.slice(0, 5)}`);
    await hub.call('GET', '/health');
    const stopped = hub.stop();
    await eventually(async () => expect(await hub.readiness()).toMatchObject({ status: 503, text: expect.stringContaining('draining') as string }));
    late.socket.write(head.slice(20));
    tail.socket.write('ents HTTP/1.1\r\nHost: hub\r\n\r\n');
    await eventually(() => late.isEnded());
    expect([late.text().slice(0, 12), codeOf(late.text())]).toEqual(['HTTP/1.1 503', 'DRAINING']);
    await eventually(() => codeOf(tail.text()) === 'DRAINING');
    await expect(connectPeer(hub, 'messenger')).rejects.toThrow('ECONNREFUSED');
    posting.socket.write(EVENT.slice(5));
    await eventually(() => posting.text().includes('Processing event'));
    await stopped;
    expect(posting.text()).toMatch(/^HTTP\/1\.1 200 OK/);
  });

  it('waits for a request that is under way when there is nothing else to wait for', async () => {
    const hub = await startTestHub();
    const posting = await connectRaw(hub.port);
    posting.socket.write(`POST /event HTTP/1.1\r\nHost: hub\r\nContent-Length: ${EVENT.length}\r\n\r\n${EVENT.slice(0, 5)}`);
    await hub.call('GET', '/health');
    const stopped = hub.stop();
    await eventually(async () => expect(await hub.readiness()).toMatchObject({ status: 503 }));
    for (let probe = 0; probe < 5; probe += 1) await hub.readiness();
    posting.socket.write(EVENT.slice(5));
    await stopped;
    await eventually(() => posting.isEnded());
    expect(posting.text()).toContain('Processing event');
  });

  it('answers whoever waits for a link that will not come', async () => {
    const deaf = createServer((socket) => socket.on('error', () => undefined).resume());
    await new Promise<void>((resolve) => deaf.listen(0, '127.0.0.1', resolve));
    onClose(() => new Promise((resolve) => deaf.close(resolve)));
    const hub = await startTestHub();
    const asked = hub.link(`127.0.0.1:${(deaf.address() as AddressInfo).port}`);
    await eventually(async () => expect((await hub.call('GET', '/interconnect')).text).toContain('"down"'));
    await hub.stop();
    expect((await asked).code).toBe('LINK_UNREACHABLE');
  });

  it('does not wait longer than it was told for a request that never ends', async () => {
    const hub = await startTestHub({ env: { CARILLON_DRAIN_TIMEOUT_MS: '300' } });
    const stuck = await connectRaw(hub.port);
    stuck.socket.write('POST /event HTTP/1.1\r\nHost: hub\r\nContent-Length: 10\r\n\r\n{');
    await hub.call('GET', '/health');
    await hub.stop();
    await eventually(() => stuck.isEnded());
    expect(hub.logs.some((line) => line.includes('drain deadline'))).toBe(true);
  });

  it('lets go of what its last turn held for a link and for the cluster', async () => {
    const exchange = createInProcessExchange();
    const [hub, mate, lone] = [await startTestHub({ bus: exchange.connect() }), await startTestHub({ bus: exchange.connect() }), await startTestHub()];
    await hub.link(lone.host);
    const listeners = [await joinRooms(mate, 'A'), await joinRooms(lone, 'A')];
    const writer = await connectPeer(hub, 'messenger');
    writer.send('A\nlast');
    await writer.heard();
    await hub.stop();
    for (const listener of listeners) await listener.got('A\nlast');
  });

  it('is stopped twice as well as once', async () => {
    const hub = await startTestHub();
    const peer = await connectPeer(hub, 'messenger');
    await Promise.all([hub.stop(), hub.stop()]);
    expect((await peer.ended).code).toBe(1012);
    await hub.stop();
  });
});

describe('a hub that cannot listen', () => {
  it('says so and lets go of its bus', async () => {
    const hub = await startTestHub();
    const bus = createInProcessExchange().connect();
    await expect(startTestHub({ bus, port: hub.port })).rejects.toThrow('another process already listens there');
    expect(bus.state).toBe('closed');
  });
});
