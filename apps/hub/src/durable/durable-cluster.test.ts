import { eventually, startNatsServer, stopAll, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { startClusterHub } from '../cluster/cluster-hub.fixture.ts';
import { closeAll, connectPeer, joinRooms } from '../hub.fixture.ts';
import { openSession, type TestSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(async () => {
  await closeAll();
  await stopAll();
});
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';

/** Sequences and bodies of what a session got without asking for it again. */
const eventsOf = ({ heard }: TestSession): (readonly [number, string])[] => heard.flatMap((each) => (each.kind === 'event' ? [[each.fields.seq ?? 0, each.body] as const] : []));

describe('a durable room of a cluster', () => {
  it('has one order at every hub, whoever stores where', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const hubs = [await startClusterHub(nats), await startClusterHub(nats)] as const;
    const readers = await Promise.all(hubs.map((hub) => openSession(hub)));
    for (const reader of readers) await reader.subscribe('1', ['ITB-*']);
    const old = await joinRooms(hubs[1], ROOM);
    const writers = await Promise.all(hubs.map((hub) => openSession(hub)));
    const stored = await Promise.all(writers.flatMap((writer, at) => Array.from({ length: 100 }, (_, n) => writer.store(ROOM, `${at}:${n}`, { id: `w${at}-${n}` }))));
    expect(new Set(stored).size).toBe(200);
    for (const reader of readers) await eventually(() => expect(eventsOf(reader)).toHaveLength(200));
    const [first, second] = readers.map(eventsOf);
    expect(second).toEqual(first);
    expect(first?.map(([seq]) => seq)).toEqual([...stored].sort((left, right) => left - right));
    await eventually(() => expect(old.frames).toEqual(first?.map(([, body]) => `${ROOM}\n${body}`)));
    // An id that one hub has stored is known to the other.
    expect(await writers[1]?.store(ROOM, '0:0', { id: 'w0-0' })).toBe(stored[0]);
  });

  it('gives an event to one repeater of all, and to the links of every hub once', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const [a, b] = [await startClusterHub(nats), await startClusterHub(nats)];
    const repeaters = [await connectPeer(b, 'repeater'), await connectPeer(b, 'repeater')];
    const links = [await connectPeer(a, 'hub'), await connectPeer(b, 'hub')];
    const writer = await openSession(a);
    const prefix = `${ROOM}\n`;
    await eventually(async () => {
      await writer.store(ROOM, 'probe');
      expect([...links, { frames: repeaters.flatMap(({ frames }) => frames) }].every(({ frames }) => frames.includes(`${prefix}probe`))).toBe(true);
    });
    for (let n = 0; n < 50; n += 1) await writer.store(ROOM, `n${n}`);
    const of = (frames: readonly string[]): string[] => frames.filter((frame) => frame.startsWith(`${prefix}n`));
    const all = Array.from({ length: 50 }, (_, n) => `${prefix}n${n}`);
    for (const link of links) await eventually(() => expect(of(link.frames)).toEqual(all));
    await eventually(() => expect(repeaters.flatMap(({ frames }) => of(frames)).sort()).toEqual([...all].sort()));
  });

  it('is read on at another hub after the reader\'s own has died', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const [a, b] = [await startClusterHub(nats), await startClusterHub(nats)];
    const reader = await openSession(a);
    const { seq: begun } = await reader.subscribe('1', [ROOM]);
    const [welcome] = reader.all('welcome');
    await a.stop();
    const writer = await openSession(b);
    const seqs = [await writer.store(ROOM, 'one'), await writer.store(ROOM, 'two')];
    const again = await openSession(b);
    await again.subscribe('1', [ROOM], { since: { seq: begun, epoch: welcome?.epoch ?? '' } });
    expect(eventsOf(again)).toEqual([[seqs[0], 'one'], [seqs[1], 'two']]);
  });

  it('refuses while the log is away, says so, and goes on when it is back', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const hub = await startClusterHub(nats);
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    await reader.subscribe('1', [ROOM]);
    await writer.store(ROOM, 'before');
    await nats.kill();
    await eventually(async () => expect((await hub.readiness()).status).toBe(503));
    writer.publish(ROOM, 'meanwhile', { id: 'm' });
    expect(await writer.got('error', ({ request }) => request === 'm')).toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await nats.restart();
    await eventually(async () => expect((await hub.readiness()).status).toBe(200));
    await writer.store(ROOM, 'meanwhile', { id: 'm' });
    await eventually(() => expect(eventsOf(reader).map(([, body]) => body)).toEqual(['before', 'meanwhile']));
  });

  it('lets a connection have only so many events without an ack', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const hub = await startClusterHub(nats);
    const writer = await openSession(hub);
    const [welcome] = writer.all('welcome');
    nats.pause();
    const most = welcome?.limits.publishesMax ?? 0;
    for (let n = 0; n <= most; n += 1) writer.publish(ROOM, 'x', { id: `n${n}` });
    expect(await writer.got('error', ({ code }) => code === 'PUBLISHES_EXCEEDED')).toMatchObject({ request: `n${most}` });
    nats.resume();
    await eventually(() => expect(writer.all('published').reduce((sum, { events }) => sum + events.length, 0) + writer.all('error').length).toBeGreaterThan(most));
  });
});
