import { expect, test, afterEach, beforeEach } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { eventually, startFaultProxy } from '@carillon/testing';

import { createSite, eventOf, firstPeer } from './site.fixture.ts';

let site: ReturnType<typeof createSite>;
beforeEach(() => void (site = createSite({ WebSocket, WebSocketServer })));
afterEach(() => site.close());

test('joins its hub as a repeater and says who it is', async () => {
  const hub = await site.stub();
  const repeater = await site.repeater({ HUB_ADDRESS: `127.0.0.1:${hub.port}`, CARILLON_REPEATER_HUB_URL: '' });
  const link = await firstPeer(hub);
  expect(link.path).toBe('/connect/repeater');
  expect(link.headers['carillon-repeater']).toBe('ITB-1101-CP1');
  await eventually(async () => (await repeater.metric('carillon_repeater_hub_connected')) === 1);
});

test('passes a device\'s frames up byte for byte, blank lines and all', async () => {
  const hub = await site.stub();
  const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: `ws://127.0.0.1:${hub.port}` });
  const link = await firstPeer(hub);
  const device = await site.device(repeater, '/connect/ITB-1101/D1');
  const frames = [`ITB-1101\n${eventOf('ITB-1101')}\n`, `ITB-1101\n\n\n${eventOf('ITB-1101')}`, 'é 7\n{}', 'R\n', Buffer.concat([Buffer.from('R\n'), Buffer.alloc(300_000, 0xfe)])];
  for (const frame of frames) device.send(frame);
  await eventually(() => link.frames.length === frames.length);
  expect(link.frames.map((frame, index) => frame.equals(Buffer.from(frames[index] as Buffer)))).toEqual(frames.map(() => true));
  expect(await repeater.metric('carillon_repeater_received_frames_total', 'device')).toBe(frames.length);
  expect(await repeater.metric('carillon_repeater_upstream_frames_total')).toBe(frames.length);
});

test('queues what comes while the hub is away and sends it in order when the hub is back', async () => {
  const first = await site.stub();
  const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: `ws://127.0.0.1:${first.port}` });
  const device = await site.device(repeater, '/connect/ITB-1101/D1');
  device.send('R\n0');
  await eventually(() => first.peers[0]?.texts().length === 1);
  await first.stop();
  await eventually(async () => (await repeater.metric('carillon_repeater_hub_connected')) === 0);
  for (let n = 1; n <= 2_000; n += 1) device.send(`R\n${n}`);
  await eventually(async () => (await repeater.metric('carillon_repeater_upstream_queue_frames')) === 2_000);
  expect(await repeater.metric('carillon_repeater_upstream_queue_oldest_seconds')).toBeGreaterThan(0);

  const second = await site.stub(first.port);
  const link = await firstPeer(second);
  await eventually(() => link.frames.length === 2_000);
  device.send('R\n2001');
  await eventually(() => link.frames.length === 2_001);
  expect(link.texts()).toEqual(Array.from({ length: 2_001 }, (_, index) => `R\n${index + 1}`));
  await eventually(async () => (await repeater.metric('carillon_repeater_upstream_queue_bytes')) === 0);
});

test('drops the oldest frames when the queue in memory is full, and counts them', async () => {
  const repeater = await site.repeater({ CARILLON_REPEATER_OUTBOX: 'memory', CARILLON_REPEATER_UPSTREAM_QUEUE_MAX_BYTES: '4KiB', CARILLON_REPEATER_FRAME_MAX_BYTES: '1KiB' });
  const device = await site.device(repeater, '/connect/ITB-1101/D1');
  for (let n = 0; n < 100; n += 1) device.send(`R\n${n}`);
  await eventually(async () => (await repeater.metric('carillon_repeater_received_frames_total', 'device')) === 100);
  const waiting = await repeater.metric('carillon_repeater_upstream_queue_frames');
  expect(waiting).toBeGreaterThan(10);
  expect(await repeater.metric('carillon_repeater_upstream_queue_bytes')).toBeLessThanOrEqual(4_096);
  expect(await repeater.metric('carillon_repeater_dropped_events_total', 'hub-away')).toBe(100 - waiting);
});

test('keeps what a hub that does not read leaves, instead of losing the hub', async () => {
  const hub = await site.stub();
  const proxy = await startFaultProxy({ targetPort: hub.port });
  const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: `ws://127.0.0.1:${proxy.port}`, CARILLON_REPEATER_LANE_MAX_BYTES: '1000000' });
  const link = await firstPeer(hub);
  const device = await site.device(repeater, '/connect/ITB-1101/D1');
  proxy.stall();
  const frame = (n: number): Buffer => Buffer.concat([Buffer.from(`R\n${n}\n`), Buffer.alloc(200_000, 0x20)]);
  for (let n = 0; n < 200; n += 1) device.send(frame(n));
  await eventually(async () => (await repeater.metric('carillon_repeater_received_frames_total', 'device')) === 200);
  await eventually(async () => (await repeater.metric('carillon_repeater_upstream_queue_bytes')) > 10_000_000);
  await proxy.heal();
  await eventually(() => link.frames.length === 200);
  expect(link.frames.every((bytes, n) => bytes.equals(frame(n)))).toBe(true);
  await proxy.stop();
});

test('tells devices to come back and empties its queue before it stops', async () => {
  const hub = await site.stub();
  const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: `ws://127.0.0.1:${hub.port}` });
  const link = await firstPeer(hub);
  const device = await site.device(repeater, '/connect/ITB-1101/D1');
  for (let n = 0; n < 500; n += 1) device.send(`R\n${n}`);
  await eventually(() => link.frames.length > 0);
  await repeater.stop();
  expect(link.frames).toHaveLength(500);
  await eventually(() => device.closed()?.code === 1012);
  const hint = /^DRAINING retry-after-ms=(\d+)$/.exec(device.closed()?.reason ?? '')?.[1];
  expect(Number(hint)).toBeGreaterThanOrEqual(500);
  expect(Number(hint)).toBeLessThanOrEqual(5_000);
  await eventually(() => link.closed()?.code === 1001);
});

test('stops at once when the hub is away, and says what is lost', async () => {
  const repeater = await site.repeater({ CARILLON_REPEATER_OUTBOX: 'memory' });
  const device = await site.device(repeater, '/connect/ITB-1101/D1');
  device.send('R\n1');
  await eventually(async () => (await repeater.metric('carillon_repeater_upstream_queue_frames')) === 1);
  await repeater.stop();
  expect(repeater.logs.some((line) => line.includes('"unsent":1'))).toBe(true);
});
