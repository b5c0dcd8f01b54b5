import { createInProcessExchange, type InProcessExchangeOptions } from '@carillon/bus';
import { trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { closeAll, connectPeer, joinRooms, startTestHub, type TestHub, type TestPeer } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

async function startCluster(size: number, { env = {}, ...options }: InProcessExchangeOptions & { readonly env?: Record<string, string> } = {}): Promise<readonly TestHub[]> {
  const exchange = createInProcessExchange(options);
  return Promise.all(Array.from({ length: size }, () => startTestHub({ bus: exchange.connect(), env })));
}

/** Proves that repeaters have got all they will: each has got something that a messenger published later. */
async function repeatersSettled(writer: TestPeer, repeaters: readonly TestPeer[]): Promise<void> {
  const hasMark = ({ frames }: TestPeer): boolean => frames.some((frame) => frame.startsWith('MARK\n'));
  await expect.poll(() => {
    writer.send('MARK\n');
    return repeaters.every(hasMark);
  }).toBe(true);
  for (const peer of repeaters) peer.frames.splice(0, peer.frames.length, ...peer.frames.filter((frame) => !frame.startsWith('MARK\n')));
}

describe('a cluster of hubs', () => {
  it('is one hub: a messenger reaches those on every hub, once, in its order', async () => {
    const hubs = await startCluster(3);
    const [a, b, c] = hubs as [TestHub, TestHub, TestHub];
    const listeners = [await joinRooms(a, 'A'), await joinRooms(b, 'A', 'A-*', '*'), await joinRooms(c, '*'), await joinRooms(c, 'A'), await joinRooms(b, 'A')];
    const writer = await joinRooms(a, '*');
    const sent = Array.from({ length: 300 }, (_, n) => `A\n${n}`);
    for (const frame of sent) writer.send(frame);
    for (const listener of listeners) {
      await listener.got('A\n299');
      expect(listener.frames).toEqual(sent);
    }
    listeners[2]?.send('A\nback');
    await writer.got('A\nback');
    expect(writer.frames).toEqual(['A\nback']);
  });

  it.each([[[0]], [[1]], [[2]], [[0, 1]], [[1, 2]], [[1, 1, 2]]])('gives a messenger\'s event to exactly one repeater (repeaters on hubs %j)', async (places) => {
    const hubs = await startCluster(3);
    const repeaters = await Promise.all(places.map((at) => connectPeer(hubs[at] as TestHub, 'repeater')));
    const [writer, marker] = [await connectPeer(hubs[0] as TestHub, 'messenger'), await joinRooms(hubs[2] as TestHub, 'A')];
    const sent = Array.from({ length: 40 }, (_, n) => `A\n${n}`);
    for (const frame of sent) writer.send(frame);
    await marker.got('A\n39');
    // Local repeaters come first: of several hubs, one that has none leaves the choice to the bus.
    const expected = places.includes(0) ? repeaters.filter((_, at) => places[at] === 0) : repeaters;
    await repeatersSettled(writer, expected);
    expect(repeaters.flatMap(({ frames }) => frames).sort()).toEqual([...sent].sort());
    for (const { frames } of repeaters) expect(frames).toEqual(sent.filter((frame) => frames.includes(frame)));
  });

  it('gives a repeater\'s event to every messenger and to no repeater', async () => {
    const [a, b] = (await startCluster(2)) as [TestHub, TestHub];
    const repeaters = [await connectPeer(a, 'repeater'), await connectPeer(a, 'repeater'), await connectPeer(b, 'repeater')];
    const listeners = [await joinRooms(a, 'A'), await joinRooms(b, 'A')];
    for (let n = 0; n < 10; n += 1) repeaters[0]?.send(`A\n${n}`);
    for (const listener of listeners) await listener.got('A\n9');
    const [writerA, writerB] = [await connectPeer(a, 'messenger'), await connectPeer(b, 'messenger')];
    await repeatersSettled(writerA, repeaters.slice(0, 2));
    await repeatersSettled(writerB, repeaters.slice(2));
    expect(repeaters.flatMap(({ frames }) => frames.filter((frame) => frame !== 'MARK\n'))).toEqual([]);
  });

  it('owes a repeater an event also when the one that was chosen has just left', async () => {
    const [a, b, c] = (await startCluster(3)) as [TestHub, TestHub, TestHub];
    const stays = await connectPeer(c, 'repeater');
    const writer = await connectPeer(a, 'messenger');
    const seen: string[] = [];
    for (let round = 0; round < 10; round += 1) {
      const leaves = await connectPeer(b, 'repeater');
      leaves.socket.on('message', (data) => seen.push((data as Buffer).toString('utf8')));
      for (let n = 0; n < 10; n += 1) writer.send(`A\n${round} ${n}`);
      await leaves.leave();
      for (let n = 10; n < 20; n += 1) writer.send(`A\n${round} ${n}`);
      await writer.heard();
    }
    await repeatersSettled(writer, [stays]);
    const got = [...seen, ...stays.frames].filter((frame) => frame.startsWith('A\n'));
    expect(new Set(got).size).toBe(got.length);
    // What was written to a repeater as it left is the repeater's loss; everything else has found another.
    const lost = 200 - got.length;
    const counted = await b.metric('carillon_hub_events_dropped_total', 'peer-gone');
    expect(lost).toBeLessThanOrEqual(100);
    expect(got.filter((frame) => Number(frame.split(' ')[1]) >= 10)).toHaveLength(100);
    expect(counted).toBeLessThanOrEqual(lost);
    expect(await b.metric('carillon_hub_events_dropped_total', 'no-repeater')).toBe(0);
  });

  it('asks only for the rooms that somebody wants', async () => {
    const [a, b] = (await startCluster(2)) as [TestHub, TestHub];
    const listener = await joinRooms(b, 'A');
    const writer = await connectPeer(a, 'messenger');
    for (let n = 0; n < 50; n += 1) writer.send(`B\n${n}`);
    writer.send('A\n');
    await listener.got('A\n');
    expect(await b.metric('carillon_hub_events_received_total', 'cluster')).toBe(1);
    expect(await b.metric('carillon_hub_cluster_subscriptions')).toBe(1);
    await listener.leave();
    await expect.poll(() => b.metric('carillon_hub_cluster_subscriptions')).toBe(0);
  });

  it('carries the largest frame, and rooms of any letters', async () => {
    const [a, b] = (await startCluster(2)) as [TestHub, TestHub];
    const rooms = ['a.b', '>', 'x y', 'é/\u{1F514}', '-', '//', '%', 'x'.repeat(256), '/'.repeat(256)];
    const listener = await joinRooms(b, ...rooms);
    const writer = await connectPeer(a, 'messenger');
    for (const room of rooms) writer.send(`${room}\n${room}`);
    await listener.got(`${rooms.at(-1)}\n${rooms.at(-1)}`);
    expect(new Set(listener.frames)).toEqual(new Set(rooms.map((room) => `${room}\n${room}`)));
    const large = '>\n'.padEnd(1_000_000, 'x');
    writer.send(large);
    await listener.got(large);
  });

  it('counts frames that its bus does not take, and goes on with the others', async () => {
    const [a, b] = (await startCluster(2, { payloadMaxBytes: 10_000 })) as [TestHub, TestHub];
    const [near, far] = [await joinRooms(a, 'A'), await joinRooms(b, 'A')];
    const writer = await connectPeer(a, 'messenger');
    const frames = ['A\n1', `A\n${'x'.repeat(20_000)}`, 'A\n2'];
    for (const frame of frames) writer.send(frame);
    await far.got('A\n2');
    await near.got('A\n2');
    expect(far.frames).toEqual(['A\n1', 'A\n2']);
    expect(near.frames).toEqual(frames);
    expect(await a.metric('carillon_hub_events_dropped_total', 'bus-too-large')).toBe(1);
  });

  it('ignores what is no envelope, and counts it', async () => {
    const exchange = createInProcessExchange();
    const hub = await startTestHub({ bus: exchange.connect() });
    const listener = await joinRooms(hub, 'A');
    const stranger = exchange.connect();
    const envelope = (...frames: readonly string[]): Buffer => Buffer.concat([Buffer.of(1), ...frames.map((frame) => { const head = Buffer.alloc(4); head.writeUInt32BE(Buffer.byteLength(frame)); return Buffer.concat([head, Buffer.from(frame)]); })]);
    for (const origin of ['m', 'q', 'r', 'h', 'x']) stranger.publish(`carillon.1.default.ev.${origin}.A`, Buffer.from('garbage'));
    for (const bad of ['', 'A\n', 'A\tid=\n', '*\tid=1\n', '\tid=1\n', 'no line feed']) stranger.publish('carillon.1.default.ev.m.A', envelope(bad, `A\tid=after-${bad.length}\ngood`));
    stranger.publish('carillon.1.default.claims', Buffer.from('{'));
    stranger.publish('carillon.1.default.ev.m.A', envelope('A\tid=last\nlast'));
    await listener.got('A\nlast');
    expect(listener.frames.filter((frame) => frame === 'A\ngood').length).toBeGreaterThan(3);
    expect(await hub.metric('carillon_hub_refused_total', 'FRAME_MALFORMED')).toBe(5);
    await stranger.close();
  });
});
