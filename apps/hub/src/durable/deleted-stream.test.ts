import { connectNats } from '@carillon/bus';
import { eventually, startNatsServer, stopAll, trackResources, type NatsServer } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed } from '../access/access.fixture.ts';
import { startClusterHub } from '../cluster/cluster-hub.fixture.ts';
import { closeAll, connectRaw, joinRooms, openTail, type TestHub } from '../hub.fixture.ts';
import { openSession, type TestSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(async () => {
  await closeAll();
  await stopAll();
});
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';
/** Of a policy that says live. */
const LIVE_ROOM = 'LIVE-1';
const STREAM = 'CARILLON';
const GONE = /somebody deleted it/;
const ANOTHER = /another one than before/;

/** As an operator would, past all hubs; resolves when it is gone. */
async function deleteStream(nats: NatsServer): Promise<void> {
  const { socket, text } = await connectRaw(nats.port);
  socket.write(`CONNECT {"verbose":false}\r\nSUB answer 1\r\nPUB $JS.API.STREAM.DELETE.${STREAM} answer 0\r\n\r\n`);
  await eventually(() => text().includes('"success":true'), { what: 'the stream to be deleted', intervalMs: 2 });
  socket.destroy();
}

const isAway = (hub: TestHub): Promise<unknown> => eventually(async () => expect((await hub.readiness()).status).toBe(503));
const saysWhy = (hub: TestHub, why: RegExp): Promise<unknown> => eventually(() => hub.logs.some((line) => why.test(line)), { what: `the hub to say ${why}` });
const post = (hub: TestHub, body: string) => hub.call('POST', `/events?room=${ROOM}`, { body: JSON.stringify(body) });
const epochOf = (session: TestSession): string => session.all('welcome')[0]?.epoch ?? '';

interface Page {
  readonly events: readonly object[];
  readonly epoch: string;
}
const historyOf = async (hub: TestHub): Promise<Page> => JSON.parse((await hub.call('GET', `/rooms/${ROOM}/history`)).text) as Page;

describe('a hub whose stream somebody deletes', () => {
  it('acks nothing as kept, says so at every door, and goes on with live rooms', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const feed = createTestFeed({ bus: connectNats({ servers: [nats.url], name: 'config-manager' }) });
    const hub = await startClusterHub(nats);
    await feed.put({ type: 'room', workspaceId: 'default', id: 'r1', pattern: 'LIVE-*', lane: 'live', retention: { maxAgeSeconds: null, maxBytes: null } });
    await feed.reached(hub);
    const [reader, writer, plain] = [await openSession(hub), await openSession(hub), await joinRooms(hub, ROOM, LIVE_ROOM)];
    await reader.subscribe('1', [ROOM, LIVE_ROOM]);
    await writer.store(ROOM, 'before', { id: 'before' });
    await eventually(() => expect([reader.bodies(), plain.frames]).toEqual([['before'], [`${ROOM}\nbefore`]]));

    await deleteStream(nats);
    // On its way when nobody knows yet.
    writer.publish(ROOM, 'lost', { id: 'under-way' });
    await isAway(hub);
    expect(JSON.parse((await hub.readiness()).text)).toMatchObject({
      checks: { 'event-log': { ok: false, reason: 'the event log is away; live rooms go on' }, cluster: { ok: true }, access: { ok: true }, lifecycle: { ok: true } },
    });
    await saysWhy(hub, GONE);

    writer.publish(ROOM, 'lost', { id: 'later' });
    plain.send(`${ROOM}\nlost`);
    reader.say({ op: 'history', request: 'h', rooms: [ROOM], after: 0, max: 10 });
    expect(await post(hub, 'lost')).toMatchObject({ status: 503, code: 'LOG_UNAVAILABLE' });
    expect(await hub.call('GET', `/rooms/${ROOM}/history`)).toMatchObject({ status: 503, code: 'LOG_UNAVAILABLE' });
    expect(await hub.call('GET', `/rooms/${ROOM}/events?since=seq:0`)).toMatchObject({ status: 503, code: 'LOG_UNAVAILABLE' });
    expect(await reader.got('error')).toMatchObject({ code: 'LOG_UNAVAILABLE', request: 'h' });
    for (const id of ['later', 'under-way']) expect(await writer.got('error', ({ request }) => request === id)).toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await eventually(() => expect(plain.texts.map((text) => JSON.parse(text) as unknown)).toContainEqual(expect.objectContaining({ op: 'error', code: 'LOG_UNAVAILABLE' })));
    expect(await hub.metric('carillon_hub_log_open')).toBe(0);
    expect(await hub.metric('carillon_hub_events_dropped_total', 'log-refused')).toBe(1);

    // Live rooms: over each door, also of who was just refused in another room, to whoever was there, and to who comes now.
    const late = await joinRooms(hub, LIVE_ROOM);
    writer.publish(LIVE_ROOM, 'one', { id: 'live' });
    expect(await writer.got('published', ({ class: reached }) => reached === 'live')).toEqual({ op: 'published', class: 'live', events: [['live', 0]] });
    expect(JSON.parse((await hub.call('POST', `/events?room=${LIVE_ROOM}`, { body: '"two"' })).text)).toMatchObject({ class: 'live' });
    await eventually(() => expect(late.frames).toEqual([`${LIVE_ROOM}\none`, `${LIVE_ROOM}\n"two"`]));
    await eventually(() => expect([reader.bodies(), plain.frames]).toEqual([['before', 'one', '"two"'], [`${ROOM}\nbefore`, ...late.frames]]));
    expect(writer.all('published').flatMap(({ events }) => events.map(([id]) => id))).toEqual(['before', 'live']);
    expect([reader, writer, plain].every(({ socket }) => socket.readyState === socket.OPEN)).toBe(true);
    expect((await hub.call('GET', '/health')).status).toBe(200);
  });

  it('begins an empty log with another epoch once it is started again, and tells readers of the old one', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const [first, other] = [await startClusterHub(nats), await startClusterHub(nats)];
    const writer = await openSession(first);
    const oldEpoch = epochOf(writer);
    for (const body of ['1', '2', '3']) await writer.store(ROOM, body);
    const had = await writer.store(ROOM, '4');
    await deleteStream(nats);
    await Promise.all([first, other].map(isAway));
    await first.stop();

    const second = await startClusterHub(nats);
    const [reader, again] = [await openSession(second), await openSession(second)];
    const epoch = epochOf(again);
    expect(epoch).not.toBe(oldEpoch);
    // Lower than what the reader had: only the epoch tells that it is new.
    const seqs = [await again.store(ROOM, 'a'), await again.store(ROOM, 'b')];
    expect(seqs.every((seq) => seq < had)).toBe(true);
    await reader.subscribe('1', [ROOM], { since: { seq: had, epoch: oldEpoch } });
    expect(reader.all('subscribed')).toEqual([{ op: 'subscribed', request: '1', seq: 0, epoch }]);
    expect(reader.all('gap')).toEqual([{ op: 'gap', request: '1', from: had + 1, to: had + 1, reason: 'epoch' }]);
    expect(reader.bodies('1')).toEqual(['a', 'b']);
    const tail = await openTail(second, `/rooms/${ROOM}/events`, { 'last-event-id': `${oldEpoch}-${had}` });
    await eventually(() => tail.text().includes('event: live'));
    expect([...tail.text().matchAll(/^data: (.*)$/gm)].map(([, data]) => data).slice(0, 5)).toEqual([`{"from":${had + 1},"to":${had + 1},"reason":"epoch"}`, ROOM, 'a', ROOM, 'b']);
    await again.store(ROOM, 'c');
    await eventually(() => expect(reader.bodies()).toEqual(['a', 'b', 'c']));
    await eventually(() => tail.text().includes('data: c\n'));

    // A hub that was not started again has readers of the old log: it does not go on with this one by itself.
    await saysWhy(other, ANOTHER);
    expect((await other.readiness()).status).toBe(503);
    expect(await post(other, 'lost')).toMatchObject({ status: 503, code: 'LOG_UNAVAILABLE' });
    await other.stop();
    const third = await startClusterHub(nats);
    expect(JSON.parse((await post(third, 'd')).text)).toMatchObject({ class: 'stored' });
    await eventually(() => expect(reader.bodies()).toEqual(['a', 'b', 'c', '"d"']));
    const history = await historyOf(third);
    expect(history).toEqual(await historyOf(second));
    // Nothing that was refused, and nothing of before.
    expect([history.epoch, history.events.length]).toEqual([epoch, 4]);
  });
});
