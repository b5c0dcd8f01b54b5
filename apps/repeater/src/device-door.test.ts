import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { eventually } from '@carillon/testing';

import { createSite, firstPeer } from './site.fixture.ts';

let site: ReturnType<typeof createSite>;
beforeEach(() => void (site = createSite({ WebSocket, WebSocketServer })));
afterEach(() => site.close());

interface Status {
  readonly info: { readonly repeater: { readonly 'pumping-stations': readonly { readonly id: string; readonly room: string }[] } };
}

test('a second device of an id is id:1, and the next one takes the first place that is free', async () => {
  const repeater = await site.repeater();
  const ids = async (): Promise<readonly string[]> => {
    const status = (await (await fetch(`http://${repeater.host}/status`, { headers: { connection: 'close' } })).json()) as Status;
    return status.info.repeater['pumping-stations'].map(({ id }) => id).sort();
  };
  await site.device(repeater, '/connect/ITB-1101/D');
  const second = await site.device(repeater, '/connect/ITB-1101/D');
  await site.device(repeater, '/connect/ITB-1101/D');
  expect(await ids()).toEqual(['D', 'D:1', 'D:2']);
  await second.close();
  await eventually(async () => (await repeater.metric('carillon_repeater_devices')) === 2);
  await site.device(repeater, '/connect/ITB-1101/D');
  expect(await ids()).toEqual(['D', 'D:1', 'D:2']);
});

describe('a malformed frame closes the connection of its device alone', () => {
  test.each([
    ['no line feed', 4500, 'FRAME_LINE_FEED_MISSING'], ['\n{}', 4501, 'ROOM_NAME_INVALID'], ['a\tid=1\n{}', 4501, 'ROOM_NAME_INVALID'], ['*\n{}', 4501, 'ROOM_NAME_INVALID'],
    [Buffer.from([0xff, 0x0a]), 4501, 'ROOM_NAME_INVALID'], [Buffer.alloc(2_000_000, 0x41), 1009, 'FRAME_TOO_LARGE'],
  ])('%# with %i', async (frame, code, reason) => {
    const hub = await site.stub();
    const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: `ws://127.0.0.1:${hub.port}` });
    const link = await firstPeer(hub);
    const [bad, good] = await Promise.all([site.device(repeater, '/connect/ITB-1101/D1'), site.device(repeater, '/connect/ITB-1101/D2')]);
    bad.send(frame);
    bad.send('ITB-1101\nafter');
    await eventually(() => bad.closed()?.code === code);
    await eventually(async () => (await repeater.metric('carillon_repeater_refused_total', reason)) === 1);
    good.send('ITB-1101\nstill here');
    await eventually(() => link.frames.length === 1);
    expect(link.texts()).toEqual(['ITB-1101\nstill here']);
  });
});

test('joins that cannot be are refused with a status and a code', async () => {
  const repeater = await site.repeater({ CARILLON_REPEATER_CONNECTIONS_MAX: '1', CARILLON_REPEATER_ALLOWED_ORIGINS: 'https://rooms.example' });
  const refused = (path: string, headers?: Record<string, string>) => site.refusedJoin(repeater, path, headers);
  expect(await refused('/connect/hub')).toEqual([404, 'ROUTE_NOT_FOUND']);
  expect(await refused('/status')).toEqual([404, 'ROUTE_NOT_FOUND']);
  expect(await refused('/connect/*/D')).toEqual([400, 'ROOM_NAME_INVALID']);
  expect(await refused('/connect/ITB-1101/%00')).toEqual([400, 'DEVICE_ID_INVALID']);
  expect(await refused('/connect/ITB-1101/D', { origin: 'https://other.example' })).toEqual([403, 'ORIGIN_REFUSED']);
  expect(await refused('/connect/ITB-1101/D', { 'carillon-repeater': 'ITB-1101-CP1' })).toEqual([409, 'LINK_TO_SELF']);
  await site.device(repeater, '/connect/ITB-1101/D', { origin: 'https://rooms.example' });
  expect(await refused('/connect/ITB-1101/D')).toEqual([503, 'CONNECTIONS_EXCEEDED']);
  expect(await repeater.metric('carillon_repeater_refused_total', 'ORIGIN_REFUSED')).toBe(1);
});

test('while it drains it takes no joins', async () => {
  const hub = await site.stub();
  const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: `ws://127.0.0.1:${hub.port}` });
  await firstPeer(hub);
  const device = await site.device(repeater, '/connect/ITB-1101/D1');
  // A device that does not answer its close keeps the drain waiting.
  device.socket.pause();
  const stopped = repeater.stop();
  expect(await site.refusedJoin(repeater, '/connect/ITB-1101/D2')).toEqual([503, 'DRAINING']);
  const answer = await fetch(`http://${repeater.host}/send`, { method: 'POST', body: '{}', headers: { connection: 'close' } });
  expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([503, 'DRAINING']);
  await stopped;
});

test('a device that does not read is cut and its events are counted', async () => {
  const repeater = await site.repeater({ CARILLON_REPEATER_LANE_MAX_BYTES: '1000000' });
  const [speaker, slow] = await Promise.all([site.device(repeater, '/connect/ITB-1101/D1'), site.device(repeater, '/connect/ITB-1101/D2')]);
  slow.socket.pause();
  const frame = Buffer.concat([Buffer.from('ITB-1101\n'), Buffer.alloc(500_000, 0x20)]);
  await eventually(async () => {
    for (let n = 0; n < 10; n += 1) speaker.send(frame);
    return (await repeater.metric('carillon_repeater_dropped_events_total', 'peer-slow')) > 0;
  });
  expect(await repeater.metric('carillon_repeater_refused_total', 'PEER_SLOW')).toBe(1);
  expect(speaker.closed()).toBeUndefined();
});
