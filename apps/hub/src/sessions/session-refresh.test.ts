import { AccessCopy, createAccessKey, hashAccessKey } from '@carillon/access';
import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed, knock, type KeyOptions, type TestKey } from '../access/access.fixture.ts';
import { Admission } from '../access/admission.ts';
import { closeAll, connectPeer, keepSecret, startTestHub } from '../hub.fixture.ts';
import { openSession, type TestSession } from './session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const HOUR_MS = 3_600_000;

async function startSite({ log = true } = {}) {
  const feed = createTestFeed();
  const hub = await startTestHub({ log, feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
  const writerKey = await feed.key('messenger');
  const key = async (options: KeyOptions = {}): Promise<TestKey> => {
    const made = await feed.key('messenger', options);
    await feed.reached(hub);
    return made;
  };
  await feed.reached(hub);
  const join = ({ key: text }: TestKey): Promise<TestSession> => openSession({ url: `${hub.url}/k/${text}` });
  return { feed, hub, key, join, writer: await join(writerKey) };
}

let asked = 0;

/** What became of a refresh: `refreshed`, or the code of the refusal. */
async function refresh(session: TestSession, key: string): Promise<string> {
  const request = `r${(asked += 1)}`;
  session.say({ op: 'refresh', request, key });
  return eventually(() => (session.all('refreshed').some((frame) => frame.request === request) ? 'refreshed' : session.all('error').find((frame) => frame.request === request)?.code) ?? false);
}

describe('a connection that comes by a new key', () => {
  it('goes on when the old one has ended, and ends with the new one', async () => {
    const { feed, hub, key, join, writer } = await startSite();
    const [old, next] = [await key(), await key()];
    const session = await join(old);
    await session.subscribe('1', ['A']);
    expect(await refresh(session, next.key)).toBe('refreshed');
    await feed.change(old, { expiresAtMs: Date.now() - HOUR_MS });
    await feed.reached(hub);
    expect(await knock(hub, '/connect/messenger', old.bearer)).toBe('ACCESS_KEY_EXPIRED');
    await feed.remove(old.entry);
    await feed.reached(hub);
    await writer.store('A', '1');
    await session.store('B', '2');
    await eventually(() => expect(session.bodies()).toEqual(['1']));
    await feed.change(next, { expiresAtMs: Date.now() - HOUR_MS });
    expect(await session.ended).toMatchObject({ code: 4512 });
  });

  it('hears no more of what the new key may not receive, and of the rest without a gap', async () => {
    const { feed, hub, key, join, writer } = await startSite();
    const [old, next] = [await key(), await key({ permissions: { send: ['B'], receive: ['A', 'C'] } })];
    const session = await join(old);
    for (const [request, rooms] of [['1', ['A']], ['2', ['B', 'C']], ['3', ['*']], ['4', ['C']]] as const) await session.subscribe(request, rooms);
    for (const room of ['A', 'B', 'C', 'D']) await writer.store(room, `"${room} before"`);
    expect(await refresh(session, next.key)).toBe('refreshed');
    expect(session.all('error').map(({ code, request, detail }) => [code, request, detail])).toEqual([['RECEIVE_DENIED', '2', 'B'], ['RECEIVE_DENIED', '3', '*']]);
    for (const room of ['A', 'B', 'D', 'C']) await writer.store(room, `"${room} after"`);
    await eventually(() => expect(session.bodies()).toEqual(['"A before"', '"B before"', '"C before"', '"D before"', '"A after"', '"C after"']));
    session.publish('A', '1', { id: 'a' });
    expect(await session.got('error', ({ request }) => request === 'a')).toMatchObject({ code: 'SEND_DENIED' });
    await session.store('B', '1');
    session.say({ op: 'subscribe', request: '5', rooms: ['B'] });
    expect(await session.got('error', ({ request }) => request === '5')).toMatchObject({ code: 'RECEIVE_DENIED' });
    // The names of what has ended are free, and changes of the new key count.
    await feed.change(next, { permissions: { ...next.entry.permissions, receive: [{ room: 'C' }] } });
    await feed.reached(hub);
    await session.subscribe('2', ['C']);
    for (const room of ['A', 'C']) await writer.store(room, `"${room} at last"`);
    await eventually(() => expect(session.bodies().filter((body) => body.includes('at last'))).toEqual(['"C at last"']));
  });

  it('leaves the consumers, rooms and watches that the new key does not cover, and keeps the others', async () => {
    const { key, join, writer } = await startSite();
    const session = await join(await key());
    for (const room of ['A', 'B']) {
      session.say({ op: 'consume', request: `consume-${room}`, name: `jobs-${room}`, rooms: [room] });
      await session.got('consuming', ({ request }) => request === `consume-${room}`);
      session.say({ op: 'enter', request: `enter-${room}`, room });
      await session.got('entered', ({ request }) => request === `enter-${room}`);
      session.say({ op: 'watch', request: `watch-${room}`, room });
      await session.got('presence', ({ request }) => request === `watch-${room}`);
    }
    expect(await refresh(session, (await key({ permissions: { send: ['A'], receive: ['A'] } })).key)).toBe('refreshed');
    await eventually(() => expect(session.all('error').map(({ code, request }) => `${request} ${code}`).sort()).toEqual(['consume-B RECEIVE_DENIED', 'enter-B SEND_DENIED', 'watch-B RECEIVE_DENIED']));
    for (const room of ['B', 'A']) await writer.store(room, `"${room}"`);
    await eventually(() => expect(session.bodies()).toEqual(['"A"']));
  });

  it('may have what the old one might not', async () => {
    const { key, join, writer } = await startSite({ log: false });
    const session = await join(await key({ permissions: { receive: ['A'] } }));
    session.say({ op: 'subscribe', request: '1', rooms: ['A'] });
    await session.got('subscribed');
    expect(await refresh(session, (await key()).key)).toBe('refreshed');
    session.say({ op: 'subscribe', request: '2', rooms: ['*'] });
    await session.got('subscribed', ({ request }) => request === '2');
    await session.store('B', '1');
    await writer.store('C', '"C"');
    await eventually(() => expect(session.bodies()).toEqual(['"C"']));
  });

  it('is counted for the new one and not for the old', async () => {
    const { hub, key, join } = await startSite({ log: false });
    const limits = { connections: 1, rooms: 2 };
    const [old, next] = [await key({ limits }), await key({ limits })];
    const session = await join(old);
    session.say({ op: 'subscribe', request: '1', rooms: ['A', 'B'] });
    await session.got('subscribed');
    expect(await knock(hub, '/connect/messenger', old.bearer)).toBe('CONNECTION_LIMIT_REACHED');
    expect(await refresh(session, next.key)).toBe('refreshed');
    expect(await knock(hub, '/connect/messenger', next.bearer)).toBe('CONNECTION_LIMIT_REACHED');
    session.say({ op: 'subscribe', request: '2', rooms: ['C'] });
    expect(await session.got('error', ({ request }) => request === '2')).toMatchObject({ code: 'ROOM_LIMIT_REACHED' });
    const other = await join(old);
    other.say({ op: 'subscribe', request: '1', rooms: ['A', 'B'] });
    await other.got('subscribed');
    await session.leave();
    const again = await join(next);
    again.say({ op: 'subscribe', request: '1', rooms: ['A', 'B'] });
    await again.got('subscribed');
  });

  it('may come by the next secret of its key, before the one before ends', async () => {
    const { feed, hub, key, join } = await startSite();
    const mine = await key({ limits: { connections: 1, rooms: 1 } });
    const session = await join(mine);
    await session.subscribe('1', ['A']);
    const made = createAccessKey();
    const text = `ck_${mine.id}_${made.key.slice(made.key.lastIndexOf('_') + 1)}`;
    keepSecret(text);
    expect(await refresh(session, text)).toBe('ACCESS_KEY_INVALID');
    const hash = hashAccessKey(text);
    await feed.change(mine, { secrets: [...mine.entry.secrets, { hash, expiresAtMs: null }] });
    await feed.reached(hub);
    expect(await refresh(session, text)).toBe('refreshed');
    await feed.change(mine, { secrets: [{ hash, expiresAtMs: null }] });
    await feed.reached(hub);
    await session.store('A', '1');
    expect(session.socket.readyState).toBe(session.socket.OPEN);
    expect(await knock(hub, '/connect/messenger', { authorization: `Bearer ${text}` })).toBe('CONNECTION_LIMIT_REACHED');
  });

  it('has its publishes, its catching up and its pages decided by the key that is in force', async () => {
    const { key, join, writer } = await startSite();
    const next = await key({ permissions: { receive: ['A'], deny: { receive: [{ room: 'A', event: 'secret' }] } } });
    for (const name of ['open', 'secret']) await writer.store('A', JSON.stringify({ key: name }));
    const session = await join(await key());
    expect(await refresh(session, next.key)).toBe('refreshed');
    session.say({ op: 'history', request: 'h', rooms: ['A'], max: 10 });
    await session.got('page');
    expect(session.bodies('h')).toEqual(['{"key":"open"}']);
    session.say({ op: 'history', request: 'i', rooms: ['B'], max: 10 });
    expect(await session.got('error', ({ request }) => request === 'i')).toMatchObject({ code: 'RECEIVE_DENIED' });
  });
});

describe('a new key is refused, and the old one stays in force,', () => {
  it('when it is none, has ended, or is of another workspace or kind', async () => {
    const { feed, hub, key, join, writer } = await startSite();
    const old = await key();
    const session = await join(old);
    await session.subscribe('1', ['A']);
    const [expired, elsewhere, service] = [await key({ expiresAtMs: Date.now() - 1 }), await key({ workspaceId: 'other' }), await feed.key('service')];
    await feed.reached(hub);
    const unknown = createAccessKey().key;
    keepSecret(unknown);
    for (const [text, code] of [['', 'ACCESS_KEY_INVALID'], ['ck_x', 'ACCESS_KEY_INVALID'], [unknown, 'ACCESS_KEY_INVALID'], [`${old.key}x`, 'ACCESS_KEY_INVALID'], [expired.key, 'ACCESS_KEY_EXPIRED'], [elsewhere.key, 'ACCESS_WORKSPACE_CHANGED'], [service.key, 'ACCESS_WORKSPACE_CHANGED']] as const) expect([code, await refresh(session, text)]).toEqual([code, code]);
    await writer.store('A', '1');
    await eventually(() => expect(session.bodies()).toEqual(['1']));
    await feed.remove(old.entry);
    expect(await session.ended).toMatchObject({ code: 4513 });
  });

  it('when its limits are reached', async () => {
    const { hub, key, join, writer } = await startSite();
    const [old, full, narrow] = [await key({ limits: { connections: 1, rooms: 3 } }), await key({ limits: { connections: 1 } }), await key({ limits: { rooms: 1 }, permissions: { receive: ['A', 'B'] } })];
    await join(full);
    const session = await join(old);
    await session.subscribe('1', ['A', 'B']);
    await session.subscribe('2', ['C']);
    expect(await refresh(session, full.key)).toBe('CONNECTION_LIMIT_REACHED');
    expect(await refresh(session, narrow.key)).toBe('ROOM_LIMIT_REACHED');
    expect(session.all('error').filter(({ code }) => code === 'RECEIVE_DENIED')).toEqual([]);
    // Nothing has changed, and nothing is counted twice.
    expect(await knock(hub, '/connect/messenger', old.bearer)).toBe('CONNECTION_LIMIT_REACHED');
    for (const room of ['A', 'B', 'C']) await writer.store(room, `"${room}"`);
    await eventually(() => expect(session.bodies()).toEqual(['"A"', '"B"', '"C"']));
    session.say({ op: 'unsubscribe', request: '1' });
    session.say({ op: 'unsubscribe', request: '2' });
    await session.subscribe('3', ['A']);
    expect(await refresh(session, narrow.key)).toBe('refreshed');
    expect(await knock(hub, '/connect/messenger', old.bearer)).toBe('joined');
  });

  it('of the workspace, that were lowered below what is used', async () => {
    const { feed, hub, key, join } = await startSite();
    const [old, next] = [await key(), await key()];
    const session = await join(old);
    await feed.workspace('default', { limits: { connections: 1 } });
    await feed.reached(hub);
    expect(await refresh(session, next.key)).toBe('CONNECTION_LIMIT_REACHED');
    await feed.workspace('default', { limits: { connections: 2 } });
    await feed.reached(hub);
    expect(await refresh(session, next.key)).toBe('refreshed');
    expect(await knock(hub, '/connect/messenger', old.bearer)).toBe('CONNECTION_LIMIT_REACHED');
  });

  it('when the hub trusts no key at present', () => {
    const copy = new AccessCopy({ now: Date.now });
    const admission = new Admission({ mode: 'open', copy, isStale: () => true, used: () => undefined, allowedOrigins: [], onLoopback: true });
    expect(admission.refresh(admission.own('messenger'), createAccessKey().key)).toEqual({ ok: false, code: 'ACCESS_STALE' });
  });

  it('when it does not fit a frame, comes before hello, or over the first protocol', async () => {
    const { hub, key, join } = await startSite({ log: false });
    const mine = await key();
    const session = await join(mine);
    session.sayText(JSON.stringify({ op: 'refresh', request: '1', key: mine.key.padEnd(1_025, 'x') }));
    session.sayText(JSON.stringify({ op: 'refresh', request: '1', key: [mine.key] }));
    session.sayText(JSON.stringify({ op: 'refresh', key: mine.key }));
    await eventually(() => expect(session.all('error').map(({ code }) => code)).toEqual(['CONTROL_INVALID', 'CONTROL_INVALID', 'CONTROL_INVALID']));
    expect(JSON.stringify(session.all('error'))).not.toContain(mine.key);
    const early = await openSession({ url: `${hub.url}/k/${mine.key}` }, { hello: false });
    early.say({ op: 'refresh', request: '1', key: mine.key });
    expect(await early.got('error')).toMatchObject({ code: 'HELLO_REQUIRED' });
    const old = await connectPeer(hub, 'messenger', { headers: mine.bearer });
    old.say(JSON.stringify({ op: 'refresh', request: '1', key: mine.key }));
    await eventually(() => expect(old.texts.join()).toContain('CONTROL_INVALID'));
    expect(old.texts.join()).not.toContain(mine.key);
  });
});
