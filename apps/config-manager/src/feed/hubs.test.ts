import { createInProcessExchange } from '@carillon/bus';
import { FEED_APPLIED_SUBJECT } from '@carillon/schemas';
import { expect, it } from 'vitest';

import { Hubs } from './hubs.ts';

function listening() {
  const exchange = createInProcessExchange();
  const [bus, hub] = [exchange.connect(), exchange.connect()];
  const clock = { nowMs: 1_000_000 };
  const hubs = new Hubs(bus, () => clock.nowMs);
  const say = async (payload: string | Uint8Array) => {
    hub.publish(FEED_APPLIED_SUBJECT, Buffer.from(payload));
    await hub.flush();
  };
  const stop = async () => {
    await hubs.stop();
    await Promise.all([bus.close(), hub.close()]);
  };
  return { hubs, clock, say, stop };
}

it('remembers the last position of each hub, by name', async () => {
  const { hubs, say, stop } = listening();
  await say('{"hub":"2","name":"west","seq":7}');
  await say('{"hub":"1","name":"east","seq":5}');
  await say('{"hub":"1","name":"east","seq":6}');

  expect(hubs.list()).toEqual([{ hub: '1', name: 'east', seq: 6, lastHeardAtMs: 1_000_000 }, { hub: '2', name: 'west', seq: 7, lastHeardAtMs: 1_000_000 }]);
  await stop();
});

it('forgets a hub that was silent for half a minute', async () => {
  const { hubs, clock, say, stop } = listening();
  await say('{"hub":"1","name":"east","seq":5}');
  clock.nowMs += 29_999;
  expect(hubs.list()).toHaveLength(1);
  clock.nowMs += 1;

  expect(hubs.list()).toEqual([]);
  await stop();
});

it.each(['', 'nonsense', '[]', '{"hub":"","name":"a","seq":1}', '{"hub":"1","name":"a","seq":-1}', '{"hub":"1","name":"a","seq":"1"}', Buffer.from([0xff, 0xfe])])('ignores and counts %j', async (payload) => {
  const { hubs, say, stop } = listening();
  await say(payload);

  expect(hubs.list()).toEqual([]);
  expect(hubs.ignored).toBe(1);
  await stop();
});

it('remembers a thousand hubs at most, and makes room when some fall silent', async () => {
  const { hubs, clock, say, stop } = listening();
  for (let hub = 0; hub < 1_010; hub += 1) await say(JSON.stringify({ hub: String(hub), name: 'h', seq: 1 }));
  expect(hubs.list()).toHaveLength(1_000);
  expect(hubs.ignored).toBe(10);
  clock.nowMs += 30_000;
  await say('{"hub":"new","name":"h","seq":1}');

  expect(hubs.list().map(({ hub }) => hub)).toEqual(['new']);
  await stop();
});
