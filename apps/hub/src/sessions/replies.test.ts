import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { ALL, createTestFeed, type TestKey } from '../access/access.fixture.ts';
import { closeAll, connectPeer, openTail, startTestHub, type TestHub } from '../hub.fixture.ts';
import { openSession, type TestSession } from './session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';

/** Where a session with this key connects. */
const as = ({ url }: TestHub, { key }: TestKey) => ({ url: `${url}/k/${key}` });
const inboxOf = (session: TestSession): string => session.all('welcome')[0]?.inbox ?? '';
const eventsOf = ({ heard }: TestSession) => heard.flatMap((each) => (each.kind === 'event' ? [each] : []));
const refused = (session: TestSession, id: string) => session.got('error', ({ request }) => request === id);
const acked = (session: TestSession, id: string) => session.got('published', ({ events }) => events.some(([published]) => published === id));

describe.each([['durable', true], ['live', false]] as const)('a request in a %s room', (_, log) => {
  it('reaches who hears the room with the inbox, and its reply reaches the requester alone', async () => {
    const hub = await startTestHub({ log });
    const [asks, answers, other] = [await openSession(hub, { session: 'asks' }), await openSession(hub, { session: 'answers' }), await openSession(hub)];
    const old = await connectPeer(hub, 'messenger');
    await old.subscribe('*');
    const tail = await openTail(hub, `/rooms/${ROOM}/events`);
    const link = await connectPeer(hub, 'hub');
    for (const each of [answers, other, asks]) {
      each.say({ op: 'subscribe', request: '1', rooms: ['*'] });
      await each.got('subscribed');
      if (log) await each.got('live');
    }
    asks.publish(ROOM, '"2+2"', { id: 'q1', rt: inboxOf(asks) });
    const question = await eventually(() => eventsOf(answers)[0] ?? false);
    expect(question).toMatchObject({ room: ROOM, body: '"2+2"', fields: { id: 'q1', rt: inboxOf(asks), from: 'asks' } });
    answers.publish(ROOM, '4', { id: 'a1', to: question.fields.rt ?? '', cid: 'q1' });
    expect(await acked(answers, 'a1')).toEqual({ op: 'published', class: 'live', events: [['a1', 0]] });
    const reply = await eventually(() => eventsOf(asks)[0] ?? false);
    expect(reply).toEqual({ kind: 'event', room: ROOM, body: '4', fields: { id: 'a1', at: expect.any(Number) as number, from: 'answers', cid: 'q1' } });
    // What is published after it comes to everybody, and the reply has not.
    await other.store(ROOM, '"end"', { id: 'end' });
    await old.got(`${ROOM}\n"end"`);
    await eventually(() => expect(tail.text()).toContain('"end"'));
    await link.got(`${ROOM}\n"end"`);
    await eventually(() => expect(answers.bodies()).toContain('"end"'));
    expect(old.frames).toEqual([`${ROOM}\n"2+2"`, `${ROOM}\n"end"`]);
    expect(link.frames).toEqual(old.frames);
    expect(tail.text()).not.toContain('data: 4');
    expect([...eventsOf(other), ...eventsOf(answers)].some(({ body }) => body === '4')).toBe(false);
    if (!log) return;
    asks.say({ op: 'history', request: 'h', rooms: [ROOM], max: 10 });
    await asks.got('page');
    expect(asks.bodies('h')).toEqual(['"2+2"', '"end"']);
  });
});

describe('a request', () => {
  it('names no inbox but its own', async () => {
    const hub = await startTestHub();
    const [asks, other] = [await openSession(hub), await openSession(hub)];
    expect(inboxOf(asks)).toMatch(/^[0-9a-f]{16}-[0-9A-Za-z_-]{22}$/);
    expect(inboxOf(other)).not.toBe(inboxOf(asks));
    asks.publish(ROOM, '1', { id: 'q1', rt: inboxOf(other) });
    expect(await refused(asks, 'q1')).toMatchObject({ code: 'TAG_LINE_INVALID' });
    const repeater = await openSession(hub, { kind: 'repeater', hello: false });
    repeater.publish(ROOM, '1', { id: 'q2', rt: inboxOf(asks) });
    expect(await refused(repeater, 'q2')).toMatchObject({ code: 'TAG_LINE_INVALID' });
  });

  it('is given to one repeater, who may reply', async () => {
    const hub = await startTestHub({ log: true });
    const repeater = await openSession(hub, { kind: 'repeater', hello: false });
    const asks = await openSession(hub);
    asks.publish(ROOM, '"ping"', { id: 'q1', rt: inboxOf(asks) });
    await eventually(() => expect(eventsOf(repeater)).toMatchObject([{ fields: { id: 'q1', rt: inboxOf(asks) } }]));
    repeater.publish(ROOM, '"pong"', { id: 'a1', to: inboxOf(asks), cid: 'q1' });
    await eventually(() => expect(eventsOf(asks)).toMatchObject([{ body: '"pong"', fields: { cid: 'q1' } }]));
  });

  it('cannot be made over HTTP, nor replied to', async () => {
    const hub = await startTestHub();
    const asks = await openSession(hub);
    asks.say({ op: 'subscribe', request: '1', rooms: ['*'] });
    await asks.got('subscribed');
    await hub.call('POST', `/events?room=${ROOM}&rt=${inboxOf(asks)}&to=${inboxOf(asks)}&cid=q`, { body: '1' });
    await eventually(() => expect(eventsOf(asks)).toHaveLength(1));
    expect(eventsOf(asks)[0]?.fields).not.toMatchObject({ rt: expect.anything() as string });
  });
});

describe('a reply', () => {
  it('is refused when nobody waits for it', async () => {
    const hub = await startTestHub();
    const [asks, answers] = [await openSession(hub), await openSession(hub)];
    const inbox = inboxOf(asks);
    await asks.leave();
    for (const [n, to] of [inbox, `${inbox}x`, inbox.slice(17), 'nobody', `${'0'.repeat(16)}-${inbox.slice(17)}`].entries()) {
      answers.publish(ROOM, '4', { id: `a${n}`, to, cid: 'q' });
      expect([to, await refused(answers, `a${n}`)]).toMatchObject([to, { code: 'REPLY_UNDELIVERABLE' }]);
    }
    expect(await hub.metric('carillon_hub_events_dropped_total', 'reply-gone')).toBe(5);
  });

  it('says what it answers, and is neither a request nor delayed', async () => {
    const hub = await startTestHub({ log: true });
    const [asks, answers] = [await openSession(hub), await openSession(hub)];
    const to = inboxOf(asks);
    for (const [id, fields] of Object.entries({ a1: { to }, a2: { to, cid: 'q', rt: inboxOf(answers) }, a3: { to, cid: 'q', delay: 5 } })) {
      answers.publish(ROOM, '4', { id, ...fields });
      expect([id, await refused(answers, id)]).toMatchObject([id, { code: 'TAG_LINE_INVALID' }]);
    }
    answers.publishRaw(Buffer.from(`${ROOM}\tid=a4\tto=${'x'.repeat(65)}\n4`));
    expect(await answers.ended).toMatchObject({ code: 4502 });
    expect(eventsOf(asks)).toEqual([]);
  });

  it('needs the right to send, and finds inboxes of its own workspace only', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
    const [mine, mute, theirs] = [await feed.key('messenger'), await feed.key('messenger', { permissions: { ...ALL, send: ['JKB-*'] } }), await feed.key('messenger', { workspaceId: 'other' })];
    await feed.reached(hub);
    const [asks, silent, stranger, answers] = [await openSession(as(hub, mine)), await openSession(as(hub, mute)), await openSession(as(hub, theirs)), await openSession(as(hub, mine))];
    const reply = { to: inboxOf(asks), cid: 'q' };
    silent.publish(ROOM, '4', { id: 'a1', ...reply });
    expect(await refused(silent, 'a1')).toMatchObject({ code: 'SEND_DENIED' });
    stranger.publish(ROOM, '4', { id: 'a2', ...reply });
    expect(await refused(stranger, 'a2')).toMatchObject({ code: 'REPLY_UNDELIVERABLE' });
    answers.publish(ROOM, '4', { id: 'a3', ...reply });
    await eventually(() => expect(eventsOf(asks).map(({ fields }) => fields.id)).toEqual(['a3']));
  });
});
