import { startNatsServer, stopAll, trackResources, type NatsServer } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { openClusterBus } from './cluster-bus.ts';
import { loadHubConfig } from '../config.ts';
import { closeAll, connectPeer, joinRooms, startTestHub, type TestHub } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(async () => {
  await closeAll();
  await stopAll();
});
afterAll(() => noLeaks());

interface NatsHub extends TestHub { readonly busLines: readonly string[] }

/** A hub as the launcher makes it: its bus comes out of the configuration. */
async function startOn(nats: NatsServer): Promise<NatsHub> {
  const loaded = loadHubConfig({ CARILLON_NATS_URL: nats.url });
  if (!loaded.ok) throw new Error('refused');
  const busLines: string[] = [];
  const line = (_fields: object, text: string): void => void busLines.push(text);
  const log = { trace: line, debug: line, info: line, warn: line, error: line, fatal: line, level: 'info' as const, child: () => log };
  const bus = openClusterBus(loaded.config, { name: 'hub-test', log });
  if (bus === undefined) throw new Error('no bus');
  const hub = await startTestHub({ bus });
  await expect.poll(async () => (await hub.readiness()).status, { timeout: 10_000 }).toBe(200);
  await bus.flush();
  return { ...hub, busLines };
}

/** Publishes until it comes: when a subscription is in force at the server is not for us to see. */
async function reach(from: TestHub, to: TestHub): Promise<void> {
  const [writer, listener] = [await connectPeer(from, 'messenger'), await joinRooms(to, 'PROBE')];
  await expect.poll(() => {
    writer.send('PROBE\n');
    return listener.frames.length > 0;
  }, { timeout: 15_000 }).toBe(true);
  await Promise.all([writer.leave(), listener.leave()]);
}

describe('a cluster over NATS', () => {
  it('is one hub: messengers once, one repeater wherever it is, repeaters never hear repeaters', async () => {
    const nats = await startNatsServer();
    const [a, b, c] = [await startOn(nats), await startOn(nats), await startOn(nats)];
    const listeners = [await joinRooms(a, 'A'), await joinRooms(b, '*', 'A'), await joinRooms(c, 'A', 'A*')];
    const repeaters = [await connectPeer(b, 'repeater'), await connectPeer(c, 'repeater')];
    await reach(a, b);
    await reach(a, c);
    const writer = await connectPeer(a, 'messenger');
    const sent = Array.from({ length: 200 }, (_, n) => `A\n${n}`);
    for (const frame of sent) writer.send(frame);
    for (const listener of listeners) await listener.got('A\n199');
    repeaters[0]?.send('A\nup');
    for (const listener of listeners) await listener.got('A\nup');
    await expect.poll(() => {
      writer.send('MARK\n');
      return repeaters.every(({ frames }) => frames.includes('MARK\n'));
    }).toBe(true);
    const of = (frames: readonly string[]) => frames.filter((frame) => frame.startsWith('A\n'));
    for (const { frames } of listeners) expect(of(frames)).toEqual([...sent, 'A\nup']);
    expect(repeaters.flatMap(({ frames }) => of(frames)).sort()).toEqual([...sent].sort());
    expect(await b.metric('carillon_hub_events_dropped_total', 'no-repeater')).toBe(0);
  });

  it('goes on with local rooms while NATS is away, counts, says so, and heals by itself', async () => {
    const nats = await startNatsServer();
    const [a, b] = [await startOn(nats), await startOn(nats)];
    await reach(a, b);
    const [local, far] = [await joinRooms(a, 'A'), await joinRooms(b, 'A')];
    const writer = await connectPeer(a, 'messenger');
    await nats.kill();
    await expect.poll(() => a.readiness()).toMatchObject({ status: 503, text: expect.stringContaining('the bus is away; local rooms go on') as string });
    expect((await a.status()).statuscode).toBe('sick');
    expect(await a.metric('carillon_hub_cluster_connected')).toBe(0);
    for (let n = 0; n < 10; n += 1) writer.send(`A\naway ${n}`);
    await local.got('A\naway 9');
    expect(await a.metric('carillon_hub_events_dropped_total', 'bus-away')).toBe(10);
    const joinedWhileAway = await joinRooms(b, 'NEW');
    await nats.restart();
    for (const hub of [a, b]) await expect.poll(async () => (await hub.readiness()).status, { timeout: 15_000 }).toBe(200);
    await reach(a, b);
    writer.send('NEW\nhealed');
    writer.send('A\nhealed');
    await Promise.all([far.got('A\nhealed'), joinedWhileAway.got('NEW\nhealed')]);
    expect(far.frames).toEqual(['A\nhealed']);
    expect((await a.status()).statuscode).toBe('healthy');
  });

  it('warns of a NATS that takes less than a frame, and counts what does not fit', async () => {
    const nats = await startNatsServer({ maxPayload: 100_000 });
    const [a, b] = [await startOn(nats), await startOn(nats)];
    expect(a.logs.some((line) => line.includes('NATS takes smaller messages than this hub') && line.includes('100000'))).toBe(true);
    await reach(a, b);
    const [near, far] = [await joinRooms(a, 'A'), await joinRooms(b, 'A')];
    await reach(a, b);
    const writer = await connectPeer(a, 'messenger');
    const frames = [`A\n${'x'.repeat(99_000)}`, `A\n${'y'.repeat(100_000)}`, 'A\nlast'];
    for (const frame of frames) writer.send(frame);
    await near.got('A\nlast');
    await far.got('A\nlast');
    expect(near.frames).toEqual(frames);
    expect(far.frames).toEqual([frames[0], frames[2]]);
    expect(await a.metric('carillon_hub_events_dropped_total', 'bus-too-large')).toBe(1);
  });

  it('is joined by a hub that started before its NATS did, which serves its own rooms until then', async () => {
    const nats = await startNatsServer();
    const b = await startOn(nats);
    await nats.kill();
    const loaded = loadHubConfig({ CARILLON_NATS_URL: nats.url });
    if (!loaded.ok) throw new Error('refused');
    const nothing = (): void => undefined;
    const log = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing, fatal: nothing, level: 'info' as const, child: () => log };
    const bus = openClusterBus(loaded.config, { name: 'early', log });
    const a = await startTestHub(bus === undefined ? {} : { bus });
    const local = await joinRooms(a, 'A');
    (await connectPeer(a, 'messenger')).send('A\nlocal');
    await local.got('A\nlocal');
    await nats.restart();
    await reach(a, b);
    await reach(b, a);
  });
});
