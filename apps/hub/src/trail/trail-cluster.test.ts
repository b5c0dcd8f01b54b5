import { eventually, startNatsServer, stopAll, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { startClusterHub } from '../cluster/cluster-hub.fixture.ts';
import { closeAll, connectPeer, joinRooms } from '../hub.fixture.ts';
import { openSession } from '../sessions/session.fixture.ts';
import { trailOf, trailSays } from './trail.fixture.ts';

const noLeaks = trackResources();
afterEach(async () => {
  await closeAll();
  await stopAll();
});
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';
const TRAIL = { env: { CARILLON_HUB_TRAIL: 'on' } };

describe('the trail of an event in a cluster', () => {
  it('has the readers of every hub, whichever stored it and whichever is asked', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const [a, b] = [await startClusterHub(nats, TRAIL), await startClusterHub(nats, TRAIL)];
    const [first, second] = [await openSession(a, { session: 'first' }), await openSession(b, { session: 'second' })];
    for (const reader of [first, second]) await reader.subscribe('1', ['ITB-*']);
    const old = await joinRooms(b, ROOM);
    const repeater = await connectPeer(b, 'repeater');
    const writer = await openSession(a);
    await eventually(async () => {
      await writer.store(ROOM, 'probe');
      expect(repeater.frames.length > 0 && old.frames.length > 0).toBe(true);
    });
    await writer.store(ROOM, '{}', { id: 'e' });
    const storedAtMs = performance.now();
    const all = [`repeater ${b.id} delivered`, `session ${a.id} delivered`, `session ${b.id} delivered`, `v1 ${b.id} delivered`];
    for (const hub of [a, b]) {
      const trail = await trailSays(hub, 'e', ({ readers }) => expect(readers.map(({ how, hub: at, outcome }) => `${how} ${at} ${outcome}`).sort()).toEqual([...all].sort()));
      expect(trail).toMatchObject({ room: ROOM, state: 'stored', class: 'stored' });
    }
    console.log(`the trail was whole ${Math.round(performance.now() - storedAtMs)} ms after the ack`);

    // One that is gone, and comes back at the other hub for what it missed.
    const [welcome] = first.all('welcome');
    const { seq = 0 } = await trailOf(b, 'e');
    await first.leave();
    await writer.store(ROOM, '{}', { id: 'missed' });
    await trailSays(b, 'missed', ({ readers }) => expect(readers.filter(({ session }) => session === 'first')).toEqual([]));
    const again = await openSession(b, { session: 'first' });
    await again.subscribe('1', ['ITB-*'], { since: { seq, epoch: welcome?.epoch ?? '' } });
    await trailSays(a, 'missed', ({ readers }) => expect(readers.filter(({ session }) => session === 'first')).toMatchObject([{ hub: b.id, outcome: 'delivered' }]));
    expect((await trailOf(a, 'e')).readers.filter(({ session }) => session === 'first')).toMatchObject([{ hub: a.id, outcome: 'delivered', confirmed: true }]);
  });

  it('says by which hub it was refused', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const [a, b] = [await startClusterHub(nats, TRAIL), await startClusterHub(nats, TRAIL)];
    const writer = await openSession(a);
    await writer.store(ROOM, 'one', { id: 'same' });
    writer.publish(ROOM, 'two', { id: 'same' });
    await writer.got('error', ({ code }) => code === 'EVENT_ID_REUSED');
    await trailSays(b, 'same', ({ refusals }) => expect(refusals).toMatchObject([{ code: 'EVENT_ID_REUSED', hub: a.id }]));
  });
});
