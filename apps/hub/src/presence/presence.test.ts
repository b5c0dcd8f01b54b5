import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createFailingLog } from '../durable/failing-log.fixture.ts';
import { closeAll, onClose, startTestHub } from '../hub.fixture.ts';
import { enter, look, seenBy, sees, watch } from './presence.fixture.ts';
import { openSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

describe('presence in a room', () => {
  it('shows who enters and leaves, since when, when last seen, and what they show of themselves', async () => {
    const hub = await startTestHub({ log: true });
    const before = Date.now();
    const [watcher, ann, bob] = [await openSession(hub), await openSession(hub), await openSession(hub, { session: 'bob' })];
    await enter(ann, 'e', 'A', { name: 'ann', data: '{"desk":7}' });
    const first = await watch(watcher, 'w', 'A');
    expect([...first.there]).toMatchObject([['ann', { data: '{"desk":7}' }]]);
    expect(Math.abs((first.there.get('ann')?.at ?? 0) - before)).toBeLessThan(60_000);
    await enter(bob, 'e', 'A');
    await sees(watcher, 'w', ['ann', 'bob']);
    ann.say({ op: 'unsubscribe', request: 'e' });
    await sees(watcher, 'w', ['bob']);
    expect(seenBy(watcher, 'w').left.get('ann')).toBeGreaterThanOrEqual(before);
    // The connection goes without a word.
    bob.socket.terminate();
    await sees(watcher, 'w', []);
    expect([...seenBy(watcher, 'w').left.keys()].sort()).toEqual(['ann', 'bob']);
    expect((await look(hub, 'A')).lastSeen.map(({ name }) => name)).toEqual(['ann', 'bob']);
    expect(watcher.all('presence').filter(({ isAll }) => isAll === true)).toHaveLength(1);
  });

  it('tells of one room only, to those who watch it, as long as they do', async () => {
    const hub = await startTestHub({ log: true });
    const [one, two] = [await openSession(hub), await openSession(hub)];
    await watch(one, 'a', 'A');
    await watch(one, 'b', 'B');
    await enter(two, '1', 'A', { name: 'x' });
    await enter(two, '2', 'B', { name: 'y' });
    await sees(one, 'a', ['x']);
    await sees(one, 'b', ['y']);
    one.say({ op: 'unsubscribe', request: 'a' });
    two.say({ op: 'unsubscribe', request: '1' });
    two.say({ op: 'unsubscribe', request: '2' });
    await sees(one, 'b', []);
    expect([...seenBy(one, 'a').there.keys()]).toEqual(['x']);
    one.say({ op: 'unsubscribe', request: 'a' });
    expect(await one.got('error')).toMatchObject({ code: 'REQUEST_UNKNOWN', request: 'a' });
  });

  it('counts several of one name as one, and shows what the last of them brought', async () => {
    const hub = await startTestHub({ log: true });
    const [watcher, phone, desk] = [await openSession(hub), await openSession(hub), await openSession(hub)];
    await watch(watcher, 'w', 'A');
    await enter(phone, 'e', 'A', { name: 'ann', data: 'phone' });
    await enter(desk, 'e', 'A', { name: 'ann', data: 'desk' });
    await eventually(() => expect(seenBy(watcher, 'w').there.get('ann')?.data).toBe('desk'));
    await phone.leave();
    await enter(await openSession(hub), 'e', 'A', { name: 'mark' });
    await sees(watcher, 'w', ['ann', 'mark']);
    await desk.leave();
    await eventually(() => expect(seenBy(watcher, 'w').left.has('ann')).toBe(true));
  });

  it('is told in frames of two hundred, and by HTTP at once', async () => {
    const hub = await startTestHub({ log: true });
    const crowd = await Promise.all(Array.from({ length: 5 }, () => openSession(hub)));
    for (const [at, session] of crowd.entries()) for (let n = 0; n < 90; n += 1) session.say({ op: 'enter', request: `e${n}`, room: 'A', name: `n${at}-${n}` });
    for (const session of crowd) await eventually(() => expect(session.all('entered')).toHaveLength(90));
    const watcher = await openSession(hub);
    await watch(watcher, 'w', 'A');
    await eventually(() => expect(seenBy(watcher, 'w').there.size).toBe(450));
    expect(watcher.all('presence').map(({ isAll, joined = [] }) => [isAll, joined.length])).toEqual([[true, 200], [undefined, 200], [undefined, 50]]);
    expect([await hub.metric('carillon_hub_presence_members'), await hub.metric('carillon_hub_presence_watchers')]).toEqual([450, 1]);
    for (const session of [...crowd, watcher]) await session.leave();
    await eventually(async () => expect([await hub.metric('carillon_hub_presence_members'), await hub.metric('carillon_hub_presence_watchers')]).toEqual([0, 0]));
    expect((await look(hub, 'A')).lastSeen).toHaveLength(450);
  });
});

describe('a request for presence', () => {
  it.each([
    ['a pattern for a room', { op: 'enter', request: 'x', room: 'A*' }, 'ROOM_NAME_INVALID'],
    ['a room that is none', { op: 'watch', request: 'x', room: '' }, 'ROOM_NAME_INVALID'],
    ['a name that is none', { op: 'enter', request: 'x', room: 'A', name: 'a b' }, 'CONTROL_INVALID'],
    ['too much of oneself', { op: 'enter', request: 'x', room: 'A', data: 'x'.repeat(1_025) }, 'CONTROL_INVALID'],
    ['no room', { op: 'watch', request: 'x' }, 'CONTROL_INVALID'],
  ])('with %s is refused', async (_what, frame, code) => {
    const session = await openSession(await startTestHub({ log: true }));
    session.sayText(JSON.stringify(frame));
    expect(await session.got('error')).toMatchObject({ code });
    await enter(session, 'x', 'A');
  });

  it('needs a name of its own, and at most a hundred of a kind are open', async () => {
    const hub = await startTestHub({ log: true });
    const session = await openSession(hub);
    for (let n = 0; n < 100; n += 1) session.say({ op: 'enter', request: `e${n}`, room: 'A', name: `n${n}` });
    session.say({ op: 'enter', request: 'more', room: 'A' });
    expect(await session.got('error')).toMatchObject({ code: 'PRESENCE_EXCEEDED', request: 'more' });
    session.say({ op: 'watch', request: 'e5', room: 'A' });
    expect(await session.got('error', ({ request }) => request === 'e5')).toMatchObject({ code: 'REQUEST_IN_USE' });
    for (let n = 0; n < 100; n += 1) session.say({ op: 'watch', request: `w${n}`, room: 'A' });
    session.say({ op: 'watch', request: 'many', room: 'A' });
    expect(await session.got('error', ({ request }) => request === 'many')).toMatchObject({ code: 'PRESENCE_EXCEEDED' });
    expect(await hub.metric('carillon_hub_refused_total', 'PRESENCE_EXCEEDED')).toBe(2);
    session.say({ op: 'unsubscribe', request: 'e5' });
    await enter(session, 'again', 'A');
  });

  it('is for those who said hello, and for hubs that keep a log', async () => {
    const hub = await startTestHub();
    const session = await openSession(hub, { hello: false });
    session.say({ op: 'watch', request: 'x', room: 'A' });
    expect(await session.got('error')).toMatchObject({ code: 'HELLO_REQUIRED' });
    session.say({ op: 'hello' });
    for (const op of ['enter', 'watch'] as const) {
      session.say({ op, request: op, room: 'A' });
      expect(await session.got('error', ({ request }) => request === op)).toMatchObject({ code: 'LOG_ABSENT' });
    }
    expect(await hub.call('GET', '/rooms/A/presence')).toMatchObject({ status: 404, code: 'LOG_ABSENT' });
  });

  it('by HTTP names one room and nothing else', async () => {
    const hub = await startTestHub({ log: true });
    expect(await hub.call('GET', '/rooms/A*/presence')).toMatchObject({ status: 400, code: 'ROOM_NAME_INVALID' });
    expect(await hub.call('POST', '/rooms/A/presence')).toMatchObject({ status: 405, code: 'METHOD_NOT_ALLOWED' });
    expect(JSON.parse((await hub.call('GET', '/rooms/A%2F1/presence')).text)).toEqual({ room: 'A/1', members: [], lastSeen: [] });
  });
});

describe('presence and the log', () => {
  it('is known again after a restart: who was there was last seen when the hub stopped', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'carillon-presence-'));
    onClose(() => rm(dataDir, { recursive: true, force: true }));
    const hub = await startTestHub({ log: true, dataDir });
    await enter(await openSession(hub), 'e', 'A', { name: 'ann' });
    const stoppedAtMs = Date.now();
    await hub.stop();
    const next = await startTestHub({ log: true, dataDir });
    const { members, lastSeen } = await look(next, 'A');
    expect([members, lastSeen.map(({ name }) => name)]).toEqual([[], ['ann']]);
    expect(lastSeen[0]?.at).toBeGreaterThanOrEqual(stoppedAtMs - 1_000);
  });

  it('takes those for gone whose hub died without a word, at their last beat', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'carillon-presence-'));
    onClose(() => rm(dataDir, { recursive: true, force: true }));
    const dying = createFailingLog();
    const hub = await startTestHub({ log: true, dataDir, wrapLog: dying.wrap });
    const enteredAtMs = Date.now();
    await enter(await openSession(hub), 'e', 'A', { name: 'ann' });
    // From now on nothing that it says is stored.
    dying.fail('append', Infinity, 'LOG_UNAVAILABLE');
    await hub.stop();
    const next = await startTestHub({ log: true, dataDir });
    const watcher = await openSession(next);
    await watch(watcher, 'w', 'A');
    await sees(watcher, 'w', []);
    const [seen] = [...seenBy(watcher, 'w').left.entries()];
    expect(seen?.[0]).toBe('ann');
    expect([(seen?.[1] ?? 0) >= enteredAtMs, (seen?.[1] ?? 0) <= Date.now() - 7_000]).toEqual([true, true]);
    expect((await look(next, 'A')).lastSeen).toEqual([{ name: 'ann', at: seen?.[1] }]);
  });

  it('lets one in once the log takes it, and says so when that takes too long', async () => {
    const log = createFailingLog();
    const hub = await startTestHub({ log: true, wrapLog: log.wrap });
    const [ann, bob, watcher] = [await openSession(hub), await openSession(hub), await openSession(hub)];
    await watch(watcher, 'w', 'A');
    log.fail('append', 2, 'LOG_UNAVAILABLE');
    await enter(ann, 'e', 'A', { name: 'ann' });
    expect(log.failed).toBe(2);
    log.fail('append', Infinity, 'LOG_UNAVAILABLE');
    bob.say({ op: 'enter', request: 'e', room: 'A', name: 'bob' });
    expect(await bob.got('error')).toMatchObject({ code: 'LOG_UNAVAILABLE', request: 'e' });
    // Who was there is there.
    expect([...seenBy(watcher, 'w').there.keys()]).toEqual(['ann']);
    log.fail('append', 0, 'LOG_UNAVAILABLE');
    await enter(bob, 'e', 'A', { name: 'bob' });
    await sees(watcher, 'w', ['ann', 'bob']);
  });

  it('has whoever left while the log was away gone when it is back', async () => {
    const log = createFailingLog();
    const hub = await startTestHub({ log: true, wrapLog: log.wrap });
    const [ann, watcher] = [await openSession(hub), await openSession(hub)];
    await enter(ann, 'e', 'A', { name: 'ann' });
    await watch(watcher, 'w', 'A');
    log.fail('append', Infinity, 'LOG_UNAVAILABLE');
    await ann.leave();
    await eventually(() => log.failed > 0);
    expect([...seenBy(watcher, 'w').there.keys()]).toEqual(['ann']);
    log.fail('append', 0, 'LOG_UNAVAILABLE');
    await sees(watcher, 'w', []);
    await eventually(async () => expect(await hub.metric('carillon_hub_presence_members')).toBe(0));
  });

  it('is read once it can be, and by HTTP is not waited for long', async () => {
    const log = createFailingLog();
    const hub = await startTestHub({ log: true, wrapLog: log.wrap });
    const release = log.hold('read');
    const session = await openSession(hub);
    session.say({ op: 'enter', request: 'e', room: 'A', name: 'ann' });
    session.say({ op: 'watch', request: 'w', room: 'A' });
    expect(await hub.call('GET', '/rooms/A/presence')).toMatchObject({ status: 503, code: 'LOG_UNAVAILABLE' });
    release();
    await session.got('entered');
    await sees(session, 'w', ['ann']);
    log.fail('read', 1, 'LOG_UNAVAILABLE');
    expect((await look(hub, 'A')).members.map(({ name }) => name)).toEqual(['ann']);
  });
});

describe('a room that many are in', () => {
  it('is shown by HTTP a thousand at a time, by name', async () => {
    const hub = await startTestHub({ log: true });
    const sessions = await Promise.all(Array.from({ length: 11 }, () => openSession(hub)));
    for (const [at, session] of sessions.entries()) for (let n = 0; n < 100; n += 1) session.say({ op: 'enter', request: `e${n}`, room: 'A', name: `n${`${at * 100 + n}`.padStart(4, '0')}` });
    for (const session of sessions) await eventually(() => expect(session.all('entered')).toHaveLength(100));
    const first = await look(hub, 'A');
    expect([first.members.length, first.members[0]?.name, first.next]).toEqual([1_000, 'n0000', 'n0999']);
    const second = await look(hub, 'A', {}, '?after=n0999');
    expect([second.members.length, second.members[0]?.name, second.next]).toEqual([100, 'n1000', undefined]);
  });
});
