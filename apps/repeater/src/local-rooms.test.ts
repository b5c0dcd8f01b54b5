import { afterEach, beforeEach, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

import { eventually } from '@carillon/testing';

import { createSite, firstPeer, type Peer } from './site.fixture.ts';

let site: ReturnType<typeof createSite>;
beforeEach(() => void (site = createSite({ WebSocket, WebSocketServer })));
afterEach(() => site.close());

/** Whatever came to a peer before this mark did. */
async function settled(from: Peer, room: string, to: readonly Peer[]): Promise<void> {
  from.send(`${room}\nmark`);
  for (const peer of to) await eventually(() => peer.texts().includes(`${room}\nmark`));
}

test('devices of one room hear each other with the hub away, once, and not themselves', async () => {
  const repeater = await site.repeater();
  const [speaker, listener, other] = await Promise.all([site.device(repeater, '/connect/ITB-1101/D1'), site.device(repeater, '/connect/ITB-1101/D2'), site.device(repeater, '/connect/ITB-1102/D3')]);
  speaker.send('ITB-1101\n\n{"a":1}\n');
  speaker.send('ITB-1103\nfor nobody here');
  await settled(speaker, 'ITB-1101', [listener]);
  await settled(speaker, 'ITB-1102', [other]);
  expect(listener.texts()).toEqual(['ITB-1101\n\n{"a":1}\n', 'ITB-1101\nmark']);
  expect(other.texts()).toEqual(['ITB-1102\nmark']);
  expect(speaker.frames).toEqual([]);
});

test('a device that subscribes to patterns hears their rooms, each event once, until it unsubscribes', async () => {
  const repeater = await site.repeater();
  const [speaker, listener] = await Promise.all([site.device(repeater, '/connect/ITB-1101/D1'), site.device(repeater, '/connect/ITB-1101/D2')]);
  listener.socket.send('{"rooms":["ITB-*","ITB-1101","*"],"create":true,"id":"x"}');
  listener.socket.send('not a change');
  listener.socket.send('{"rooms":["a**b"],"create":true}');
  await eventually(async () => (await repeater.metric('carillon_repeater_refused_total', 'PATTERN_INVALID')) === 1);
  expect(await repeater.metric('carillon_repeater_refused_total', 'CONTROL_INVALID')).toBe(1);
  speaker.send('ITB-1101\n1');
  speaker.send('JFSB-1\n2');
  await settled(speaker, 'ITB-1101', [listener]);
  listener.socket.send('{"rooms":["ITB-*","ITB-1101","*"],"create":false}');
  listener.socket.send('[]');
  await eventually(async () => (await repeater.metric('carillon_repeater_refused_total', 'CONTROL_INVALID')) === 2);
  speaker.send('JFSB-1\n3');
  speaker.send('ITB-1101\n4'); // still a member of the room it joined with
  await eventually(() => listener.frames.length === 4);
  expect(listener.texts()).toEqual(['ITB-1101\n1', 'JFSB-1\n2', 'ITB-1101\nmark', 'ITB-1101\n4']);
});

test('subscriptions of one device are bounded', async () => {
  const repeater = await site.repeater({ CARILLON_REPEATER_PATTERNS_MAX: '2' });
  const device = await site.device(repeater, '/connect/ITB-1101/D1');
  device.socket.send('{"rooms":["a","b"],"create":true}');
  device.socket.send('{"rooms":["b","c"],"create":true}');
  await eventually(async () => (await repeater.metric('carillon_repeater_refused_total', 'SUBSCRIPTIONS_EXCEEDED')) === 1);
  expect(device.closed()).toBeUndefined();
});

test('another repeater is no member of the room it joins with, unless it subscribes', async () => {
  const repeater = await site.repeater();
  const speaker = await site.device(repeater, '/connect/ITB-1101/D1');
  const silent = await site.device(repeater, '/connect/ITB-1101/CP2', { 'carillon-repeater': 'CP2' });
  const subscribed = await site.device(repeater, '/connect/ITB-1101/CP3', { 'carillon-repeater': 'CP3' });
  const member = await site.device(repeater, '/connect/ITB-1101/D2');
  subscribed.socket.send('{"rooms":["ITB-1101"],"create":true}');
  subscribed.send('ITB-1101\nfrom CP3');
  await eventually(() => member.frames.length === 1);
  await settled(speaker, 'ITB-1101', [subscribed, member]);
  expect(silent.frames).toEqual([]);
  expect(subscribed.texts()).toEqual(['ITB-1101\nmark']);
});

test('local rooms can be switched off; subscriptions stay', async () => {
  const repeater = await site.repeater({ CARILLON_REPEATER_LOCAL_ROOMS: 'off' });
  const [speaker, member, subscribed] = await Promise.all(['D1', 'D2', 'D3'].map((id) => site.device(repeater, `/connect/ITB-1101/${id}`)));
  if (speaker === undefined || member === undefined || subscribed === undefined) throw new Error('three devices joined');
  subscribed.socket.send('{"rooms":["ITB-1101"],"create":true}');
  await eventually(async () => {
    speaker.send('ITB-1101\nagain');
    return subscribed.frames.length > 0;
  });
  expect(member.frames).toEqual([]);
});

test('frames of the hub reach subscribers and nobody else, and do not go up again', async () => {
  const hub = await site.stub();
  const repeater = await site.repeater({ CARILLON_REPEATER_HUB_URL: `ws://127.0.0.1:${hub.port}` });
  const link = await firstPeer(hub);
  const [member, subscribed] = await Promise.all([site.device(repeater, '/connect/ITB-1101/D1'), site.device(repeater, '/connect/ITB-1101/D2')]);
  subscribed.socket.send('{"rooms":["ITB-*"],"create":true}');
  subscribed.send('ITB-1109\nI am subscribed');
  await eventually(() => link.frames.length === 1);
  link.send('no line feed');
  link.send('ITB-1101\n\n\n{"from":"the cloud"}\n');
  await eventually(() => subscribed.frames.length === 1);
  expect(subscribed.texts()).toEqual(['ITB-1101\n\n\n{"from":"the cloud"}\n']);
  expect(await repeater.metric('carillon_repeater_refused_total', 'FRAME_LINE_FEED_MISSING')).toBe(1);
  await settled(subscribed, 'ITB-1101', [member]);
  expect(member.texts()).toEqual(['ITB-1101\nmark']);
  await eventually(() => link.frames.length >= 2);
  expect(link.texts()).toEqual(['ITB-1109\nI am subscribed', 'ITB-1101\nmark']);
});
