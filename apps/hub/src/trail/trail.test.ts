import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { LogError, type EventLog } from '@carillon/log';
import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { closeAll, connectPeer, joinRooms, onClose, openTail, startTestHub, type TestHub, type TestHubOptions } from '../hub.fixture.ts';
import { openSession } from '../sessions/session.fixture.ts';
import { SYSTEM_WORKSPACES } from '../durable/system-log.ts';
import { trailOf, trailSays, type ToldTrail } from './trail.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';

const startHub = ({ env = {}, ...options }: TestHubOptions = {}): Promise<TestHub> => startTestHub({ log: true, ...options, env: { CARILLON_HUB_TRAIL: 'on', ...env } });

/** What is told of each reader, in a word. */
const wordsOf = ({ readers }: ToldTrail): string[] => readers.map(({ how, outcome, reason }) => (reason === undefined ? `${how} ${outcome}` : `${how} ${outcome}: ${reason}`)).sort();

describe('the trail of an event', () => {
  it('tells within a second who was handed it: sessions, messengers of the first protocol, live tails, links, a repeater', async () => {
    const hub = await startHub();
    const reader = await openSession(hub, { session: 'reader' });
    await reader.subscribe('1', ['ITB-*']);
    await joinRooms(hub, ROOM, 'ITB-*');
    const tail = await openTail(hub, `/rooms/${ROOM}/events`);
    const elsewhere = await openSession(hub, { session: 'elsewhere' });
    await elsewhere.subscribe('1', ['JKB-*']);
    await connectPeer(hub, 'hub');
    await connectPeer(hub, 'repeater');
    const writer = await openSession(hub, { session: 'writer' });
    await writer.subscribe('1', ['*']);
    await eventually(async () => expect([await hub.metric('carillon_hub_connections', 'hub'), await hub.metric('carillon_hub_connections', 'repeater')]).toEqual([1, 1]));
    await eventually(() => expect(tail.text()).toContain('event: live'));
    const seq = await writer.store(ROOM, '{}', { id: 'e1' });
    const storedAtMs = performance.now();
    const all = ['link delivered', 'repeater delivered', 'session delivered', 'session skipped: own', 'tail delivered', 'v1 delivered'];
    const trail = await trailSays(hub, 'e1', (told) => expect(wordsOf(told)).toEqual(all));
    console.log(`the trail was whole ${Math.round(performance.now() - storedAtMs)} ms after the ack`);
    expect(trail).toMatchObject({ id: 'e1', room: ROOM, seq, state: 'stored', class: 'stored', from: 'writer', refusals: [], attempts: [] });
    expect([trail.next, trail.missed, trail.truncated]).toEqual([undefined, undefined, undefined]);
    const of = (session: string) => trail.readers.find((each) => each.session === session);
    expect(of('reader')).toMatchObject({ how: 'session', hub: hub.id, rooms: ['ITB-*'], outcome: 'delivered' });
    expect(of('writer')).toMatchObject({ rooms: ['*'], outcome: 'skipped', reason: 'own' });
    expect(trail.readers.find(({ how }) => how === 'v1')?.rooms).toEqual([ROOM, 'ITB-*']);
    tail.abort();
  });

  it('has readers that read the log up to it, from before it was stored or after, and none that came behind it', async () => {
    const hub = await startHub();
    const writer = await openSession(hub);
    const seqs = [];
    for (const id of ['a', 'b', 'c']) seqs.push(await writer.store(ROOM, id, { id }));
    const late = await openSession(hub, { session: 'late' });
    await late.subscribe('1', [ROOM], { since: { seq: seqs[0] ?? 0 } });
    const now = await openSession(hub, { session: 'now' });
    await now.subscribe('1', [ROOM]);
    await trailSays(hub, 'b', ({ readers }) => expect(readers).toMatchObject([{ session: 'late', outcome: 'delivered' }]));
    // It came with a position behind the first: it must have it.
    expect((await trailOf(hub, 'a')).readers).toEqual([]);
  });

  it('keeps what it says of who has left since', async () => {
    const hub = await startHub();
    const [reader, old, writer] = [await openSession(hub, { session: 'reader' }), await joinRooms(hub, ROOM), await openSession(hub)];
    await reader.subscribe('1', [ROOM]);
    await writer.store(ROOM, 'one', { id: 'one' });
    await eventually(() => expect([reader.bodies(), old.frames]).toEqual([['one'], [`${ROOM}\none`]]));
    reader.say({ op: 'unsubscribe', request: '1' });
    await old.leave();
    await reader.leave();
    await writer.store(ROOM, 'two', { id: 'two' });
    await trailSays(hub, 'one', (told) => expect(wordsOf(told)).toEqual(['session delivered', 'v1 delivered']));
    await trailSays(hub, 'two', (told) => expect(wordsOf(told)).toEqual([]));
  });

  it('has of a messenger that was cut what its connection took and what was dropped', async () => {
    const hub = await startHub({ env: { CARILLON_HUB_LANE_MAX_BYTES: '1MiB' } });
    const [slow, writer] = [await joinRooms(hub, ROOM), await openSession(hub)];
    slow.socket.pause();
    const body = 'x'.repeat(90_000);
    const ids: string[] = [];
    let hasWaited = false;
    await eventually(async () => {
      ids.push(`n${ids.length}`);
      await writer.store(ROOM, `${ids.at(-1)} ${body}`, { id: ids.at(-1) ?? '' });
      const isBacklogged = (await hub.metric('carillon_hub_lanes_backlogged')) > 0;
      // Before it is cut: what its lane holds is not handed over.
      if (isBacklogged && !hasWaited) await trailSays(hub, ids.at(-1) ?? '', (told) => expect(wordsOf(told)).toEqual(['v1 pending']));
      hasWaited ||= isBacklogged;
      return hasWaited && !isBacklogged;
    }, { intervalMs: 1 });
    // Within the grace of a closed peer: it finds all that its connection has taken.
    slow.socket.resume();
    expect(await slow.ended).toMatchObject({ code: 4000 });
    expect(hasWaited).toBe(true);
    const got = slow.frames.map((frame) => /\n(n\d+) /.exec(frame)?.[1]);
    // What came after it was gone was not for it.
    const dropped = ids[got.length] ?? '';
    await trailSays(hub, dropped, (told) => expect(wordsOf(told)).toEqual(['v1 skipped: PEER_SLOW']));
    const words = [];
    for (const id of ids) words.push((await trailOf(hub, id)).readers.map(({ outcome, reason }) => reason ?? outcome).join());
    expect(words.slice(0, got.length)).toEqual(got.map(() => 'delivered'));
    expect(got).toEqual(ids.slice(0, got.length));
    expect([...new Set(words.slice(got.length))].filter((word) => word !== '')).toEqual(['PEER_SLOW']);
  });

  it('of a session that reads too slowly waits until it has read', async () => {
    const hub = await startHub({ env: { CARILLON_HUB_LANE_MAX_BYTES: '1MiB' } });
    const [reader, writer] = [await openSession(hub, { session: 'slow' }), await openSession(hub)];
    await reader.subscribe('1', [ROOM]);
    reader.socket.pause();
    const body = 'x'.repeat(20_000);
    let last = '';
    for (let n = 0; n < 400; n += 1) await writer.store(ROOM, body, { id: (last = `n${n}`) });
    await trailSays(hub, last, (told) => expect(wordsOf(told)).toEqual(['session pending']));
    reader.socket.resume();
    await trailSays(hub, last, (told) => expect(wordsOf(told)).toEqual(['session delivered']));
    await trailSays(hub, 'n200', (told) => expect(wordsOf(told)).toEqual(['session delivered']));
  });

  it('is unknown where a hub died before it said so, until the session says where it was', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'carillon-trail-'));
    let isDying = false;
    // A hub that is killed writes no more of its trail.
    const wrapLog = (log: EventLog): EventLog => new Proxy(log, {
      get: (target, name) => {
        if (name === 'append') return (event: Parameters<EventLog['append']>[0]) => (isDying && event.workspaceId === SYSTEM_WORKSPACES.trail ? Promise.reject(new LogError('LOG_UNAVAILABLE', 'the test says so')) : target.append(event));
        const member: unknown = Reflect.get(target, name, target);
        return typeof member === 'function' ? (member.bind(target) as unknown) : member;
      },
    });
    const first = await startHub({ dataDir, wrapLog });
    const [reader, writer] = [await openSession(first, { session: 'reader' }), await openSession(first)];
    await reader.subscribe('1', [ROOM]);
    await writer.store(ROOM, 'one', { id: 'one' });
    await trailSays(first, 'one', (told) => expect(wordsOf(told)).toEqual(['session delivered']));
    isDying = true;
    const seq = await writer.store(ROOM, 'two', { id: 'two' });
    await eventually(() => expect(reader.bodies()).toEqual(['one', 'two']));
    const [welcome] = reader.all('welcome');
    await first.stop();

    const second = await startHub({ dataDir });
    onClose(async () => {
      await second.stop();
      await rm(dataDir, { recursive: true, force: true });
    });
    await trailSays(second, 'two', (told) => expect(wordsOf(told)).toEqual(['session unknown: hub-silent']));
    expect(wordsOf(await trailOf(second, 'one'))).toEqual(['session delivered']);
    const again = await openSession(second, { session: 'reader' });
    await again.subscribe('1', [ROOM], { since: { seq, epoch: welcome?.epoch ?? '' } });
    const trail = await trailSays(second, 'two', (told) => expect(wordsOf(told)).toEqual(['session delivered']));
    expect(trail.readers).toMatchObject([{ session: 'reader', confirmed: true, hub: first.id }]);
  });

  it('is not kept by a hub that is told not to', async () => {
    const hub = await startHub({ env: { CARILLON_HUB_TRAIL: 'off' } });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    await reader.subscribe('1', [ROOM]);
    await writer.store(ROOM, 'one', { id: 'one' });
    await eventually(() => expect(reader.bodies()).toEqual(['one']));
    expect(await trailOf(hub, 'one')).toMatchObject({ state: 'stored', readers: [] });
    expect(await hub.metric('carillon_hub_trail_facts_total')).toBe(0);
  });
});
