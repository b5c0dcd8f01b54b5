import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { ALL, createTestFeed, type KeyOptions, type TestFeed, type TestKey } from '../access/access.fixture.ts';
import { joinConsumer } from '../consumers/consumer.fixture.ts';
import { createFailingLog } from '../durable/failing-log.fixture.ts';
import { closeAll, codeOf, connectPeer, joinRoomsWith, startTestHub, type TestHub } from '../hub.fixture.ts';
import { openSession, type TestSession } from '../sessions/session.fixture.ts';
import { WAITING_MAX_FACTS } from './trail-journal.ts';
import { trailOf, trailSays } from './trail.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';
const JSON_TYPE = { 'content-type': 'application/json' };

interface Site {
  readonly feed: TestFeed;
  readonly hub: TestHub;
  key(options?: KeyOptions): Promise<TestKey>;
  session(key: TestKey, name?: string): Promise<TestSession>;
}

async function startSite(env: Readonly<Record<string, string>> = {}): Promise<Site> {
  const feed = createTestFeed();
  const hub = await startTestHub({ log: true, feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys', CARILLON_HUB_TRAIL: 'on', ...env } });
  return {
    feed, hub,
    key: async (options = {}) => {
      const key = await feed.key('messenger', options);
      await feed.reached(hub);
      return key;
    },
    session: (key, session) => openSession({ url: `${hub.url}/k/${key.key}` }, session === undefined ? {} : { session }),
  };
}

/** A messenger and a hub that asks for no keys. */
async function startOpen(env: Readonly<Record<string, string>> = {}): Promise<{ readonly hub: TestHub; readonly writer: TestSession }> {
  const hub = await startTestHub({ log: true, env: { CARILLON_HUB_TRAIL: 'on', ...env } });
  return { hub, writer: await openSession(hub, { session: 'writer' }) };
}

describe('an event that was refused', () => {
  it('has the code and who sent it, as a session or over HTTP', async () => {
    const { feed, hub, key, session } = await startSite();
    await feed.workspace('default', { validation: 'reject' });
    await feed.put({ type: 'event-definition', id: 'power', workspaceId: 'default', name: 'power', version: 1, schema: { type: 'object', required: ['value'] } });
    const [sender, reader] = [await key({ permissions: { send: ['ITB-*'], receive: ['*'] } }), await key()];
    const me = await session(sender, 'me');
    me.publish('JKB-1', '{}', { id: 'denied' });
    me.publish(ROOM, '{"key":"power"}', { id: 'unfit' });
    await me.got('error', ({ request }) => request === 'unfit');
    for (const [id, code, room] of [['denied', 'SEND_DENIED', 'JKB-1'], ['unfit', 'EVENT_DEFINITION_VIOLATED', ROOM]] as const) {
      const trail = await trailSays(hub, id, ({ state }) => expect(state).toBe('refused'), reader.bearer);
      expect(trail).toMatchObject({ id, room, state: 'refused', from: 'me', refusals: [{ code, from: 'me', hub: hub.id }], readers: [], attempts: [] });
    }
    const answer = await hub.call('POST', '/events?room=JKB-1', { headers: { ...sender.bearer, ...JSON_TYPE, 'carillon-event-id': 'over-http' }, body: '{}' });
    expect(answer.code).toBe('SEND_DENIED');
    await trailSays(hub, 'over-http', ({ refusals }) => expect(refusals).toMatchObject([{ code: 'SEND_DENIED' }]), reader.bearer);
  });

  it('is told also after it came again and was stored', async () => {
    const { hub, key, session } = await startSite();
    const limited = await key({ limits: { eventsPerSecond: 1 } });
    const me = await session(limited, 'me');
    const ids = Array.from({ length: 20 }, (_, n) => `n${n}`);
    for (const id of ids) me.publish(ROOM, '{}', { id });
    const { request: id = '' } = await me.got('error', ({ code }) => code === 'EVENT_RATE_EXCEEDED');
    await eventually(async () => {
      me.publish(ROOM, '{}', { id });
      expect(me.all('published').flatMap(({ events }) => events.map(([stored]) => stored))).toContain(id);
    }, { intervalMs: 300 });
    await trailSays(hub, id, ({ state, refusals }) => expect([state, refusals[0]?.code]).toEqual(['stored', 'EVENT_RATE_EXCEEDED']), limited.bearer);
  });

  it('by the log keeps what came of the event that has its id', async () => {
    const { hub, writer } = await startOpen();
    await writer.store(ROOM, 'one', { id: 'same' });
    writer.publish(ROOM, 'two', { id: 'same' });
    await writer.got('error', ({ code }) => code === 'EVENT_ID_REUSED');
    await trailSays(hub, 'same', ({ state, refusals }) => expect([state, refusals.map(({ code }) => code)]).toEqual(['stored', ['EVENT_ID_REUSED']]));
  });

  it('has an id of ours where its sender gave none, which the log tells', async () => {
    const { hub, key } = await startSite();
    const [mute, reader] = [await key({ permissions: { send: ['none'], receive: ['*'] } }), await key()];
    const peer = await connectPeer(hub, 'messenger', { headers: mute.bearer });
    peer.send(`${ROOM}\n{}`);
    await eventually(() => expect(peer.texts.map(codeOf)).toEqual(['SEND_DENIED']));
    expect((await hub.call('POST', '/event', { headers: mute.bearer, body: { 'affected-room': { roomID: ROOM } } })).code).toBe('SEND_DENIED');
    const ids = hub.logs.filter((each) => each.includes('event refused')).map((line) => (JSON.parse(line) as { id: string }).id);
    expect(ids).toHaveLength(2);
    for (const id of ids) await trailSays(hub, id, ({ state, room }) => expect([state, room]).toEqual(['refused', ROOM]), reader.bearer);
  });
});

describe('an event that a reader may not have', () => {
  it('is skipped there as RECEIVE_DENIED, live and from the log, and only there', async () => {
    const { feed, hub, key, session } = await startSite();
    const [all, less] = [await key(), await key()];
    const reader = await session(less, 'less');
    await reader.subscribe('1', ['ITB-*']);
    const old = await joinRoomsWith(less.bearer, hub, ROOM);
    const whole = await session(all, 'whole');
    await whole.subscribe('1', ['*']);
    const writer = await session(all, 'writer');
    await writer.store(ROOM, 'before', { id: 'before' });
    await feed.change(less, { permissions: { ...less.entry.permissions, deny: { send: [], receive: [{ room: ROOM }] } } });
    await feed.reached(hub);
    for (const id of ['n1', 'n2', 'n3']) await writer.store(ROOM, id, { id });
    await writer.store('ITB-2', 'other', { id: 'other' });
    await old.got(`${ROOM}\nbefore`);
    await eventually(() => expect(reader.bodies()).toEqual(['before', 'other']));
    const outcomes = async (id: string) => (await trailOf(hub, id, { headers: all.bearer })).readers.map(({ session: of, how, outcome, reason }) => `${how === 'v1' ? 'v1' : of} ${reason ?? outcome}`).sort();
    await eventually(async () => expect(await outcomes('n3')).toEqual(['less RECEIVE_DENIED', 'v1 RECEIVE_DENIED', 'whole delivered']));
    expect(await outcomes('n1')).toEqual(['less RECEIVE_DENIED', 'v1 RECEIVE_DENIED', 'whole delivered']);
    expect(await outcomes('before')).toEqual(['less delivered', 'v1 delivered', 'whole delivered']);
    await eventually(async () => expect(await outcomes('other')).toEqual(['less delivered', 'whole delivered']));

    const later = await session(less, 'later');
    await later.subscribe('1', ['ITB-*'], { since: { seq: 0 } });
    for (const id of ['n1', 'n2', 'n3', 'before']) await eventually(async () => expect(await outcomes(id)).toContain('later RECEIVE_DENIED'));
    await eventually(async () => expect(await outcomes('other')).toContain('later delivered'));
  });

  it('by its name is skipped event by event', async () => {
    const { feed, hub, key, session } = await startSite();
    const [all, some] = [await key(), await key()];
    const reader = await session(some, 'some');
    await reader.subscribe('1', [ROOM]);
    await feed.change(some, { permissions: { send: [], receive: [{ room: '*' }], deny: { send: [], receive: [{ room: ROOM, event: 'secret' }] } } });
    await feed.reached(hub);
    const writer = await session(all);
    const events = ['open', 'secret', 'secret', 'open', 'secret'];
    for (const [at, name] of events.entries()) await writer.store(ROOM, JSON.stringify({ key: name }), { id: `${name}${at}` });
    await eventually(() => expect(reader.bodies()).toHaveLength(2));
    for (const [at, name] of events.entries()) {
      const word = name === 'open' ? 'delivered' : 'RECEIVE_DENIED';
      await trailSays(hub, `${name}${at}`, ({ readers }) => expect(readers.map(({ outcome, reason }) => reason ?? outcome)).toEqual([word]), all.bearer);
    }
  });
});

describe('an event that is over', () => {
  it('is expired where it was read too late, and delivered where it was not', async () => {
    const { hub, writer } = await startOpen();
    const live = await openSession(hub, { session: 'live' });
    await live.subscribe('1', [ROOM]);
    const before = (await writer.store(ROOM, 'x')) - 1;
    await writer.store(ROOM, 'short', { id: 'short', ttl: 300 });
    await eventually(() => expect(live.bodies()).toContain('short'));
    await trailSays(hub, 'short', ({ state }) => expect(state).toBe('expired'));
    const late = await openSession(hub, { session: 'late' });
    await late.subscribe('1', [ROOM], { since: { seq: before } });
    const trail = await trailSays(hub, 'short', ({ readers }) => expect(readers.map(({ session, outcome, reason }) => `${session} ${reason ?? outcome}`).sort()).toEqual(['late expired', 'live delivered']));
    expect(trail).toMatchObject({ room: ROOM, state: 'expired', from: 'writer' });
    expect((trail.expiresAt ?? 0) - (trail.acceptedAt ?? 0)).toBe(300);
  });

  it('is gone where retention took it before its time, and whoever asked for it was told', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ log: true, feedBus: feed.connect(), env: { CARILLON_HUB_TRAIL: 'on', CARILLON_HUB_LOG_SWEEP_INTERVAL_MS: '100', CARILLON_HUB_LOG_MAX_AGE_MS: '1' } });
    const writer = await openSession(hub);
    await writer.store(ROOM, 'x', { id: 'x', ttl: 3_600_000 });
    await trailSays(hub, 'x', ({ state }) => expect(state).toBe('gone'));
    const late = await openSession(hub, { session: 'late' });
    await late.subscribe('1', [ROOM], { since: { seq: 0 } });
    await trailSays(hub, 'x', ({ readers }) => expect(readers).toMatchObject([{ session: 'late', outcome: 'skipped', reason: 'retention' }]));
  });

  it('says when it is due while it waits', async () => {
    const { hub, writer } = await startOpen();
    writer.publish(ROOM, 'later', { id: 'later', delay: 3_600_000 });
    await writer.got('published', ({ events }) => events.some(([id]) => id === 'later'));
    const trail = await trailSays(hub, 'later', ({ state }) => expect(state).toBe('delayed'));
    expect(trail.dueAt ?? 0).toBeGreaterThan(Date.now() + 3_000_000);
    writer.publish(ROOM, 'never', { id: 'never', delay: 2 ** 50 });
    await writer.got('error', ({ request }) => request === 'never');
    await trailSays(hub, 'never', ({ state, refusals }) => expect([state, refusals[0]?.code]).toEqual(['refused', 'DELAY_INVALID']));
  });
});

describe('an event of a consumer', () => {
  it('has every attempt and what came of it', async () => {
    const { hub, writer } = await startOpen();
    const member = await joinConsumer(hub, 'billing', { maxDeliveries: 2 });
    await writer.store(ROOM, '{}', { id: 'e' });
    const first = await member.delivered(1);
    await member.settled({ op: 'nack', seqs: [first.seq], reason: 'busy' });
    const second = await member.delivered(2);
    await member.settled({ op: 'ack', seqs: [second.seq] });
    const trail = await trailSays(hub, 'e', ({ attempts }) => expect(attempts.map(({ attempt, outcome }) => `${attempt} ${outcome}`)).toEqual(['1 delivered', '1 nacked', '2 delivered', '2 acked']));
    expect(trail.attempts.every(({ consumer }) => consumer === 'billing')).toBe(true);
    expect(trail.attempts[1]).toMatchObject({ reason: 'busy' });
  });
});

describe('whoever asks', () => {
  it('is told nothing of rooms that the key does not cover, of other workspaces and of live rooms', async () => {
    const { feed, hub, key, session } = await startSite();
    const [all, other, foreign] = [await key({ permissions: ALL }), await key({ permissions: { send: ['*'], receive: ['JKB-*'] } }), await key({ workspaceId: 'foreign' })];
    await feed.put({ type: 'room', id: 'rp_1', workspaceId: 'default', pattern: 'LIVE-*', lane: 'live', retention: { maxAgeSeconds: 3_600, maxBytes: null } });
    await feed.reached(hub);
    const me = await session(all);
    await me.store(ROOM, '{}', { id: 'mine' });
    await me.store('LIVE-1', '{}', { id: 'live' });
    const ask = async (id: string, { bearer }: TestKey): Promise<string | undefined> => (await hub.call('GET', `/events/${id}/trail`, { headers: bearer })).code;
    expect(await ask('mine', all)).toBeUndefined();
    expect([await ask('mine', other), await ask('mine', foreign), await ask('live', all), await ask('never', all)]).toEqual(['EVENT_UNKNOWN', 'EVENT_UNKNOWN', 'EVENT_UNKNOWN', 'EVENT_UNKNOWN']);
    expect((await hub.call('GET', '/events/mine/trail')).code).toBe('ACCESS_KEY_REQUIRED');
    const repeater = await feed.key('repeater');
    await feed.reached(hub);
    expect(await ask('mine', repeater)).toBe('ACCESS_KIND_REFUSED');
  });

  it('is refused what cannot be asked', async () => {
    const { hub, writer } = await startOpen();
    await writer.store(ROOM, '{}', { id: 'e' });
    const ask = async (path: string): Promise<string | undefined> => (await hub.call('GET', path)).code;
    for (const id of ['a%20b', 'x'.repeat(65), 'a%2Fb', '%00']) expect([id, await ask(`/events/${id}/trail`)]).toEqual([id, 'REQUEST_MALFORMED']);
    for (const limit of ['0', '-1', '2001', 'x', '1.5']) expect([limit, await ask(`/events/e/trail?limit=${limit}`)]).toEqual([limit, 'REQUEST_MALFORMED']);
    for (const cursor of ['', 'x', 'on.1.0.other', 'back.1.0', 'on.-1.0.x']) expect([cursor, await ask(`/events/e/trail?cursor=${cursor}`)]).toEqual([cursor, 'CURSOR_INVALID']);
    expect((await hub.call('POST', '/events/e/trail')).code).toBe('METHOD_NOT_ALLOWED');
    const logless = await startTestHub();
    expect((await logless.call('GET', '/events/e/trail')).code).toBe('LOG_ABSENT');
  });

  it('waits for others to be answered when there are many', async () => {
    const failing = createFailingLog();
    const hub = await startTestHub({ log: true, wrapLog: failing.wrap, env: { CARILLON_HUB_TRAIL: 'on' } });
    await (await openSession(hub)).store(ROOM, '{}', { id: 'e' });
    const release = failing.hold('bounds');
    const asked = Array.from({ length: 8 }, () => trailOf(hub, 'e'));
    await eventually(() => expect(failing.held).toBe(8));
    expect((await hub.call('GET', '/events/e/trail')).code).toBe('REQUESTS_EXCEEDED');
    release();
    expect((await Promise.all(asked)).map(({ state }) => state)).toEqual(Array.from({ length: 8 }, () => 'stored'));
    expect((await trailOf(hub, 'e')).state).toBe('stored');
  });

  it('is told how much could not be kept', async () => {
    const failing = createFailingLog();
    const hub = await startTestHub({ log: true, wrapLog: failing.wrap, env: { CARILLON_HUB_TRAIL: 'on' } });
    const [writer, reader] = [await openSession(hub), await openSession(hub)];
    await reader.subscribe('1', [ROOM]);
    const release = failing.hold('append');
    writer.publish(ROOM, '{}', { id: 'e' });
    await eventually(() => expect(failing.held).toBeGreaterThan(0));
    for (let n = 0; n < WAITING_MAX_FACTS + 100; n += 1) writer.publish(ROOM, '', { id: `n${n}`, delay: 2 ** 50 });
    await eventually(async () => expect(await hub.metric('carillon_hub_trail_facts_missed_total')).toBeGreaterThan(0));
    await writer.got('error', ({ request }) => request === `n${WAITING_MAX_FACTS + 99}`);
    release();
    await writer.got('published');
    await trailSays(hub, 'e', ({ missed }) => expect(missed).toBeGreaterThanOrEqual(100));
    expect(await hub.metric('carillon_hub_trail_facts_total')).toBeGreaterThan(0);
  });

  it('reads on from page to page, and back in search of what was never stored', async () => {
    const { hub, writer } = await startOpen();
    writer.publish(ROOM, 'x', { id: 'refused', delay: 2 ** 50 });
    await writer.got('error', ({ request }) => request === 'refused');
    await trailSays(hub, 'refused', ({ state }) => expect(state).toBe('refused'));
    await writer.store(ROOM, '{}', { id: 'e' });
    for (const name of ['first', 'second', 'third']) {
      const reader = await openSession(hub, { session: name });
      await reader.subscribe('1', [ROOM], { since: { seq: 0 } });
      await trailSays(hub, 'e', ({ readers }) => expect(readers.map(({ session, outcome }) => `${session} ${outcome}`)).toContain(`${name} delivered`));
      writer.publish(ROOM, 'x', { id: `later-${name}`, delay: 2 ** 50 });
      await trailSays(hub, `later-${name}`, ({ state }) => expect(state).toBe('refused'));
    }
    const sessions = new Set<string>();
    let pages = 0;
    for (let query: string | undefined = '?limit=1'; query !== undefined; pages += 1) {
      const { readers, next, state } = await trailOf(hub, 'e', { query });
      expect(state).toBe('stored');
      for (const { session, outcome } of readers) if (outcome === 'delivered') sessions.add(session);
      query = next === undefined ? undefined : `?limit=1&cursor=${next}`;
    }
    expect([[...sessions].sort(), pages > 3]).toEqual([['first', 'second', 'third'], true]);

    const found = [];
    for (let query: string | undefined = '?limit=1'; query !== undefined;) {
      const { state, next } = await trailOf(hub, 'refused', { query });
      found.push(state);
      query = next === undefined ? undefined : `?limit=1&cursor=${next}`;
    }
    expect([found.slice(0, 1), found.at(-1)]).toEqual([['unknown'], 'refused']);
    const ends = [];
    for (let query: string | undefined = '?limit=1'; query !== undefined;) {
      const answer = await hub.call('GET', `/events/never/trail${query}`);
      ends.push(answer.code ?? 'unknown');
      const { next } = JSON.parse(answer.text) as { next?: string };
      query = next === undefined ? undefined : `?limit=1&cursor=${next}`;
    }
    expect([ends[0], ends.at(-1)]).toEqual(['unknown', 'EVENT_UNKNOWN']);
  });
});
