import { eventually } from '@carillon/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { workspace } from './hub-stub.fixture.ts';
import { createSite, firstPeer } from './site.fixture.ts';

let site: ReturnType<typeof createSite>;
beforeEach(() => void (site = createSite({ WebSocket, WebSocketServer })));
afterEach(() => site.close());

const hubRefused = 'carillon_repeater_hub_refused_total';

interface Status {
  readonly statuscode: string;
  readonly info: { readonly repeater: { readonly 'hub-status': { readonly state: string; readonly refusal?: string } } };
}

test.each(['ACCESS_KEY_INVALID', 'ACCESS_KEY_REQUIRED', 'ACCESS_KEY_EXPIRED', 'ACCESS_KIND_REFUSED'] as const)('a hub that refuses the join with %s is asked on; the status says why, the log once', async (code) => {
  const hub = await site.hub([workspace()]);
  hub.refuse(code);
  const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: hub.url, CARILLON_REPEATER_OUTBOX_MAX_BYTES: '4KiB', CARILLON_REPEATER_FRAME_MAX_BYTES: '1KiB' });
  const [speaker, listener] = [await site.device(repeater, '/connect/ITB-1101/D1'), await site.device(repeater, '/connect/ITB-1101/D2')];
  for (let n = 0; n < 100; n += 1) speaker.send(`ITB-1101\n${n}`);
  await eventually(() => listener.frames.length === 100);
  await eventually(async () => (await repeater.metric(hubRefused, code)) >= 3);
  const status = JSON.parse((await site.call(repeater, '/status')).text) as Status;
  expect([status.statuscode, status.info.repeater['hub-status']]).toMatchObject(['sick', { state: 'retrying', refusal: code }]);
  expect(repeater.logs.filter((line) => line.includes('"level":"warn"') && line.includes('does not take this repeater in'))).toHaveLength(1);
  expect(repeater.logs.filter((line) => line.includes('"level":"warn"') && line.includes('the access feed is away'))).toHaveLength(1);
  expect(await repeater.metric('carillon_repeater_upstream_queue_bytes')).toBeLessThanOrEqual(4_096);
  await eventually(async () => (await repeater.metric('carillon_repeater_dropped_events_total', 'hub-away')) + (await repeater.metric('carillon_repeater_upstream_queue_frames')) === 100);
  const waiting = await repeater.metric('carillon_repeater_upstream_queue_frames');
  expect(await repeater.metric('carillon_repeater_dropped_events_total', 'hub-away')).toBe(100 - waiting);

  hub.refuse(undefined);
  const link = await firstPeer(hub);
  await eventually(() => link.frames.length === waiting);
  expect((JSON.parse((await site.call(repeater, '/status')).text) as Status).info.repeater['hub-status']).not.toHaveProperty('refusal');
});

test('a hub that closes the connection for its key is asked on', async () => {
  const hub = await site.hub([workspace()]);
  const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: hub.url });
  const link = await firstPeer(hub);
  hub.refuse('ACCESS_KEY_INVALID');
  link.socket.close(4513, 'ACCESS_KEY_REVOKED');
  await eventually(async () => (await repeater.metric(hubRefused, 'ACCESS_KEY_REVOKED')) === 1 && (await repeater.metric(hubRefused, 'ACCESS_KEY_INVALID')) >= 2);
  for (const code of ['ACCESS_KEY_REVOKED', 'ACCESS_KEY_INVALID']) expect(repeater.logs.filter((line) => line.includes('"level":"warn"') && line.includes(`"code":"${code}"`)), code).toHaveLength(1);
  hub.refuse(undefined);
  (await firstPeer(hub, 1)).socket.close(4513, 'ACCESS_KEY_REVOKED');
  await firstPeer(hub, 2);
  expect(await repeater.metric(hubRefused, 'ACCESS_KEY_REVOKED')).toBe(2);
  // A hub that takes a repeater in and sends it away at once is no news.
  expect(repeater.logs.filter((line) => line.includes('"level":"warn"') && line.includes('"code":"ACCESS_KEY_REVOKED"'))).toHaveLength(1);
});

test('a hub that refuses this repeater is asked again as seldom as the cap has it, from the first time on', async () => {
  const hub = await site.hub();
  hub.refuse('ACCESS_KEY_INVALID');
  const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: hub.url, CARILLON_REPEATER_HUB_RETRY_FIRST_MS: '10', CARILLON_REPEATER_HUB_RETRY_CAP_MS: '100000000' });
  const line = await eventually(() => repeater.logs.find((one) => one.includes('does not take this repeater in')) ?? false);
  // Drawn between 0 and the cap: under 10 ms once in ten million runs.
  expect((JSON.parse(line) as { nextTryMs: number }).nextTryMs).toBeGreaterThan(10);
});

test('a hub that refuses an event says so, and nothing else changes', async () => {
  const hub = await site.hub([workspace()]);
  const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: hub.url });
  const link = await firstPeer(hub);
  for (let n = 0; n < 3; n += 1) link.socket.send('{"op":"error","code":"SEND_DENIED","detail":"JFSB-1"}');
  link.socket.send('{"op":"error","code":"NEVER_HEARD_OF"}');
  link.socket.send('no frame');
  await eventually(async () => (await repeater.metric('carillon_repeater_refused_total', 'TEXT_UNEXPECTED')) === 2);
  expect(await repeater.metric(hubRefused, 'SEND_DENIED')).toBe(3);
  expect(repeater.logs.filter((line) => line.includes('"level":"warn"') && line.includes('SEND_DENIED'))).toHaveLength(1);
  expect([link.closed(), await repeater.metric('carillon_repeater_hub_connected')]).toEqual([undefined, 1]);
});
