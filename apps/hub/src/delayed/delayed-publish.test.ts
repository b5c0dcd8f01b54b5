import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed } from '../access/access.fixture.ts';
import { closeAll, connectPeer, startTestHub } from '../hub.fixture.ts';
import { openSession, type TestSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';
const DAY_MS = 86_400_000;

const eventsOf = ({ heard }: TestSession) => heard.flatMap((each) => (each.kind === 'event' ? [each] : []));
const refused = (session: TestSession, id: string) => session.got('error', ({ request }) => request === id);
const acked = (session: TestSession, id: string) => session.got('published', ({ events }) => events.some(([published]) => published === id));
const passed = (atMs: number) => eventually(() => Date.now() >= atMs, { what: 'the time to pass' });

describe('a delayed event', () => {
  it('is acked when it is kept, and takes its place when it is due', async () => {
    const hub = await startTestHub({ log: true });
    const [reader, writer] = [await openSession(hub), await openSession(hub, { session: 'writer' })];
    await reader.subscribe('1', [ROOM]);
    const begunMs = Date.now();
    for (const [id, delay] of [['far', 2_500], ['near', 300], ['soon', 1_200]] as const) writer.publish(ROOM, `"${id}"`, { id, delay, tp: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` });
    for (const id of ['far', 'near', 'soon']) expect((await acked(writer, id)).class).toBe('stored');
    expect(writer.all('published').flatMap(({ events }) => events.map(([, seq]) => seq))).toEqual([0, 0, 0]);
    const ackedMs = Date.now();
    const now = await writer.store(ROOM, '"now"');
    await eventually(() => expect(reader.bodies()).toEqual(['"now"', '"near"', '"soon"', '"far"']), { intervalMs: 2 });
    const [, near, soon, far] = eventsOf(reader);
    for (const [event, delay] of [[near, 300], [soon, 1_200], [far, 2_500]] as const) {
      const { at = 0, seq = 0, from, tp } = event?.fields ?? {};
      expect([at - begunMs >= delay, at - ackedMs <= delay, seq > now, from, tp?.length]).toEqual([true, true, true, 'writer', 55]);
    }
    expect(Date.now() - begunMs).toBeGreaterThanOrEqual(2_500);
    await eventually(async () => expect(await hub.metric('carillon_hub_delayed_total', 'fired')).toBe(3));
    await eventually(async () => expect(await hub.metric('carillon_hub_delayed_waiting')).toBe(0));
  });

  it('comes within moments of when it is due', async () => {
    const hub = await startTestHub({ log: true });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    const late: number[] = [];
    reader.socket.on('message', (data, isBinary) => {
      const at = /\tat=(\d+)/.exec((data as Buffer).toString('latin1'))?.[1];
      if (isBinary && at !== undefined) late.push(Date.now() - Number(at));
    });
    await reader.subscribe('1', [ROOM]);
    const all = Array.from({ length: 200 }, (_, n) => ({ id: `n${n}`, delay: 200 + n * 20 }));
    for (const { id, delay } of all) writer.publish(ROOM, `"${id}"`, { id, delay });
    await eventually(() => expect(reader.bodies()).toHaveLength(200));
    expect(new Set(reader.bodies()).size).toBe(200);
    late.sort((left, right) => left - right);
    process.stdout.write(`delayed events, embedded: late by ${late[100]} ms (median), ${late[197]} ms (99 of 100)\n`);
    expect(Math.min(...late)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...late)).toBeLessThan(20_000);
  });

  it('is one when it is published twice, and an id of its own', async () => {
    const hub = await startTestHub({ log: true });
    const [reader, writer] = [await openSession(hub), await openSession(hub)];
    await reader.subscribe('1', ['*']);
    for (let times = 0; times < 2; times += 1) {
      writer.publish(ROOM, '1', { id: 'd', delay: 700 });
      await eventually(() => expect(writer.all('published')).toHaveLength(times + 1));
      await passed(Date.now() + 5);
    }
    writer.publish(ROOM, '2', { id: 'd', delay: 700 });
    expect(await refused(writer, 'd')).toMatchObject({ code: 'EVENT_ID_REUSED' });
    await eventually(() => expect(reader.bodies()).toEqual(['1']));
    // Sent again when it has taken its place.
    writer.publish(ROOM, '1', { id: 'd', delay: 1 });
    await eventually(() => expect(writer.all('published')).toHaveLength(3));
    await writer.store(ROOM, '"end"');
    await eventually(() => expect(reader.bodies()).toEqual(['1', '"end"']));
  });

  it('shares its id with nobody of another workspace', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ log: true, feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
    const keys = [await feed.key('messenger'), await feed.key('messenger', { workspaceId: 'other' })];
    await feed.reached(hub);
    const sessions = await Promise.all(keys.map(({ key }) => openSession({ url: `${hub.url}/k/${key}` })));
    for (const [n, session] of sessions.entries()) {
      await session.subscribe('1', ['*'], { echo: true });
      session.publish(ROOM, `${n}`, { id: 'd', delay: 20 });
      await acked(session, 'd');
    }
    for (const [n, session] of sessions.entries()) await eventually(() => expect(session.bodies()).toEqual([`${n}`]));
  });

  it('is refused for longer than it can be kept, and where nothing is kept', async () => {
    const hub = await startTestHub({ log: true, env: { CARILLON_HUB_DEFAULT_LANE: 'live' } });
    const without = await startTestHub();
    const durable = await startTestHub({ log: true });
    for (const [at, delay] of [[hub, 5], [without, 5], [durable, 6 * DAY_MS + 1], [durable, Number.MAX_SAFE_INTEGER]] as const) {
      const writer = await openSession(at);
      writer.publish(ROOM, '1', { id: 'd', delay });
      expect(await refused(writer, 'd')).toMatchObject({ code: 'DELAY_INVALID' });
      expect(await at.call('POST', `/events?room=${ROOM}&delay=${delay}`, { body: '1' })).toMatchObject({ status: 400, code: 'DELAY_INVALID' });
    }
    const writer = await openSession(durable);
    expect(await writer.store(ROOM, '0', { id: 'none', delay: 0 })).toBeGreaterThan(0);
    writer.publish(ROOM, '1', { id: 'd', delay: 6 * DAY_MS });
    await acked(writer, 'd');
    writer.publishRaw(Buffer.from(`${ROOM}\tid=e\tdelay=soon\n1`));
    expect(await writer.ended).toMatchObject({ code: 4502 });
    expect((await durable.call('POST', `/events?room=${ROOM}&delay=soon`, { body: '1' })).code).toBe('DELAY_INVALID');
  });

  it('can come over HTTP, alone or with others', async () => {
    const hub = await startTestHub({ log: true });
    const reader = await openSession(hub);
    await reader.subscribe('1', [ROOM]);
    const one = await hub.call('POST', `/events?room=${ROOM}&delay=400`, { body: '"one"', headers: { 'carillon-event-id': 'one' } });
    expect([one.status, JSON.parse(one.text)]).toEqual([200, { id: 'one', room: ROOM, class: 'stored', seq: 0 }]);
    const more = await hub.call('POST', `/events?room=${ROOM}&delay=200`, { body: '"two"\n"three"', headers: { 'content-type': 'application/x-ndjson' } });
    expect(more.text.trim().split('\n').map((line) => JSON.parse(line) as object)).toMatchObject([{ line: 1, class: 'stored', seq: 0 }, { line: 2, class: 'stored', seq: 0 }]);
    await eventually(() => expect([...reader.bodies()].sort()).toEqual(['"one"', '"three"', '"two"']));
  });

  it('goes to one repeater when it is due, unless it came from one', async () => {
    const hub = await startTestHub({ log: true });
    const old = await connectPeer(hub, 'repeater');
    const repeater = await openSession(hub, { kind: 'repeater', hello: false });
    const writer = await openSession(hub);
    await writer.subscribe('1', [ROOM]);
    repeater.publish(ROOM, '"up"', { id: 'up', delay: 30 });
    await eventually(() => expect(writer.bodies()).toEqual(['"up"']));
    writer.publish(ROOM, '"down"', { id: 'down', delay: 30 });
    await eventually(() => expect([...old.frames.map((frame) => frame.split('\n')[1]), ...repeater.bodies()]).toEqual(['"down"']));
  });

  it('has the time to live that it was given from when it is due', async () => {
    const hub = await startTestHub({ log: true });
    const reader = await openSession(hub);
    await reader.subscribe('1', [ROOM]);
    const writer = await openSession(hub);
    writer.publish(ROOM, '"long"', { id: 'long', delay: 600, ttl: 60_000 });
    writer.publish(ROOM, '"short"', { id: 'short', delay: 600, ttl: 1 });
    const { class: kept } = await acked(writer, 'short');
    expect(kept).toBe('stored');
    await hub.stop();
    await passed(Date.now() + 700);
    const again = await startTestHub({ log: true, dataDir: hub.dataDir });
    const late = await openSession(again);
    await late.subscribe('1', [ROOM], { since: { seq: 0 } });
    await eventually(() => expect(late.bodies()).toEqual(['"long"']));
    expect(eventsOf(late)[0]?.fields.ttl).toBe(60_000);
    await eventually(async () => expect(await again.metric('carillon_hub_delayed_total', 'expired')).toBe(1));
    expect(await again.metric('carillon_hub_events_dropped_total', 'expired')).toBe(1);
  });
});

describe('a hub that was away', () => {
  it('gives each event that waited its place, once: at once what is late, when it is due what is not', async () => {
    const hub = await startTestHub({ log: true });
    const writer = await openSession(hub);
    const dueMs = Date.now() + 3_000;
    for (let n = 0; n < 100; n += 1) writer.publish(ROOM, `${n}`, { id: `d${n}`, delay: n < 50 ? 10 + n : dueMs - Date.now() });
    await eventually(() => expect(writer.all('published').flatMap(({ events }) => events)).toHaveLength(100));
    await hub.stop();
    const again = await startTestHub({ log: true, dataDir: hub.dataDir });
    const reader = await openSession(again);
    await reader.subscribe('1', [ROOM], { since: { seq: 0 } });
    await eventually(() => expect(reader.bodies()).toHaveLength(50));
    expect(Date.now()).toBeLessThan(dueMs);
    await eventually(() => expect(reader.bodies()).toHaveLength(100));
    expect(Date.now()).toBeGreaterThanOrEqual(dueMs);
    expect(new Set(reader.bodies()).size).toBe(100);
    await again.stop();
    const third = await startTestHub({ log: true, dataDir: hub.dataDir });
    const last = await openSession(third);
    await last.subscribe('1', [ROOM], { since: { seq: 0 } });
    await eventually(async () => expect(await third.metric('carillon_hub_delayed_waiting')).toBe(0));
    expect(last.bodies()).toHaveLength(100);
  });

  it('has forgotten those of a workspace that was deleted meanwhile', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ log: true, feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
    const key = await feed.key('messenger', { workspaceId: 'gone' });
    await feed.reached(hub);
    const writer = await openSession({ url: `${hub.url}/k/${key.key}` });
    writer.publish(ROOM, '1', { id: 'd', delay: 1_000 });
    await acked(writer, 'd');
    await feed.remove({ type: 'workspace', id: 'gone', workspaceId: 'gone', path: 'gone', anonymousKeyId: null, allowedOrigins: [], validation: 'off', limits: {} });
    await eventually(async () => expect(await hub.metric('carillon_hub_delayed_total', 'dropped')).toBe(1));
    expect(await hub.metric('carillon_hub_events_stored_total')).toBe(0);
  });
});
