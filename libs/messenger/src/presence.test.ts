import { describe, expect, it } from 'vitest';
import { fates } from './deliveries.test.fixture.ts';
import { turn } from './fakes.test.fixture.ts';
import { ModelHub } from './model-hub.test.fixture.ts';
import { joinedRig, ModelRig } from './model-rig.test.fixture.ts';
import type { PresenceChange, RoomWatch } from './presence.ts';
import { MEMBERS_MAX } from './watched-room.ts';

const names = ({ members, lastSeen }: RoomWatch): unknown => [[...members.keys()], [...lastSeen.keys()]];

/** Says who came and went to the watch that was opened first. */
const say = (rig: ModelRig, change: { isAll?: boolean; joined?: { name: string; at: number; data?: string }[]; left?: { name: string; at: number }[] }): void => {
  rig.peer.say({ op: 'presence', request: '__1', room: 'A', ...change });
  rig.down();
};

describe('a room that was entered', () => {
  it('shows this messenger by its session or a name, with what it says of itself, until it leaves', async () => {
    const hub = new ModelHub();
    const [rig, watcher] = [await joinedRig({}, hub, 0.25), await joinedRig({}, hub)];
    const watch = watcher.messenger.watch('A');
    const [plain, named] = [rig.messenger.enter('A'), rig.messenger.enter('A', { name: 'panel', data: '{"desk":4}' })];
    await rig.settle();
    await watcher.settle();
    await Promise.all([plain.ready(), named.ready()]);
    expect([plain.room, hub.presence.names('A')[1], watch.members.get('panel')]).toEqual(['A', 'panel', { name: 'panel', sinceMs: 2, data: '{"desk":4}' }]);
    await Promise.all([named.leave(), named.leave()]);
    await rig.settle();
    await watcher.settle();
    expect([hub.presence.names('A').length, watch.members.has('panel'), watch.lastSeen.get('panel')]).toEqual([1, false, 3]);
    await plain.leave();
  });

  it('is entered again after a reconnect', async () => {
    const rig = await joinedRig();
    const presence = rig.messenger.enter('A', { name: 'panel' });
    await rig.settle();
    rig.cut();
    expect(rig.hub.presence.names('A')).toEqual([]);
    const known = fates([presence.ready()]);
    rig.clock.advance(4_000);
    rig.join();
    await rig.settle();
    expect([known, rig.hub.presence.names('A')]).toEqual([['kept'], ['panel']]);
  });

  it('says why it is not, to who waits and to listeners', async () => {
    const rig = await joinedRig();
    const presence = rig.messenger.enter('denied');
    const known = fates([presence.ready()]);
    await rig.settle();
    expect([known, rig.errors]).toMatchObject([[{ code: 'SEND_DENIED' }], [{ code: 'SEND_DENIED' }]]);
    await presence.leave();
  });

  it.each([['', {}, 'ROOM_NAME_INVALID'], ['A*', {}, 'ROOM_NAME_INVALID'], ['A', { name: 'two words' }, 'CONTROL_INVALID'], ['A', { name: '' }, 'CONTROL_INVALID'], ['A', { data: 'x'.repeat(1_025) }, 'CONTROL_INVALID']])('%j with %j is refused with %s', async (room, options, code) => {
    const rig = await joinedRig();
    expect(() => rig.messenger.enter(room, options)).toThrow(expect.objectContaining({ code }));
    await rig.settle();
    expect(rig.said('enter')).toEqual([]);
  });
});

describe('a room that is watched', () => {
  it('W1: tells who is there and who was, then what changes', async () => {
    const rig = await joinedRig();
    const changes: PresenceChange[] = [];
    const sizes: number[] = [];
    const watch = rig.messenger.watch('A', (change) => changes.push(change));
    const off = watch.on(() => sizes.push(watch.members.size));
    await rig.settle();
    say(rig, { isAll: true, joined: [{ name: 'a', at: 1 }], left: [{ name: 'z', at: 9 }] });
    say(rig, { joined: [{ name: 'b', at: 2 }, { name: 'z', at: 3 }] });
    off();
    say(rig, { left: [{ name: 'a', at: 4 }] });
    expect([names(watch), sizes]).toEqual([[['b', 'z'], ['a']], [0, 1, 3]]);
    expect(changes).toEqual([
      { isAll: true, joined: [], left: [] },
      { isAll: true, joined: [{ name: 'a', sinceMs: 1 }], left: [{ name: 'z', lastSeenMs: 9 }] },
      { isAll: false, joined: [{ name: 'b', sinceMs: 2 }, { name: 'z', sinceMs: 3 }], left: [] },
      { isAll: false, joined: [], left: [{ name: 'a', lastSeenMs: 4 }] },
    ]);
  });

  it('W1 W2: keeps what it knows while it is away; then all is said anew', async () => {
    const hub = new ModelHub();
    const [rig, other] = [await joinedRig({}, hub, 0.25), await joinedRig({}, hub)];
    const here = other.messenger.enter('A', { name: 'here' });
    other.messenger.enter('A', { name: 'stays' });
    await other.settle();
    const watch = rig.messenger.watch('A');
    await rig.settle();
    rig.cut();
    expect(names(watch)).toEqual([['here', 'stays'], []]);
    await here.leave();
    await other.settle();
    rig.clock.advance(4_000);
    rig.join();
    await rig.settle();
    expect(names(watch)).toEqual([['stays'], ['here']]);
  });

  it('W3: is read from what is known, change by change; who reads slowly gets all at once', async () => {
    const rig = await joinedRig();
    const watch = rig.messenger.watch('A');
    await rig.settle();
    say(rig, { isAll: true, joined: [{ name: 'a', at: 1 }] });
    const reader = watch[Symbol.asyncIterator]();
    expect((await reader.next()).value).toMatchObject({ isAll: true, joined: [{ name: 'a' }] });
    const next = reader.next();
    say(rig, { joined: [{ name: 'b', at: 2 }] });
    expect((await next).value).toMatchObject({ isAll: false, joined: [{ name: 'b' }] });
    for (let at = 0; at < 257; at += 1) say(rig, { joined: [{ name: `n${at}`, at }] });
    expect((await reader.next() as IteratorResult<PresenceChange, undefined>).value?.joined).toHaveLength(259);
    say(rig, { left: [{ name: 'a', at: 5 }] });
    expect((await reader.next()).value).toMatchObject({ isAll: false, left: [{ name: 'a' }] });
    await reader.return?.();
    await rig.settle();
    expect([watch.closed, rig.said('unsubscribe').length, await reader.next()]).toEqual([true, 1, { done: true, value: undefined }]);
  });

  it('W4: is bounded whatever the hub says', async () => {
    const rig = await joinedRig();
    const watch = rig.messenger.watch('A');
    await rig.settle();
    const reader = watch[Symbol.asyncIterator]();
    const crowd = (prefix: string, count: number): { name: string; at: number }[] => Array.from({ length: count }, (_, at) => ({ name: `${prefix}${at}`, at }));
    for (let part = 0; part < MEMBERS_MAX / 1_024 + 1; part += 1) say(rig, { left: crowd(`left-${part}-`, 1_024) });
    expect([watch.lastSeen.size, watch.lastSeen.has('left-0-0'), watch.closed]).toEqual([MEMBERS_MAX, false, false]);
    for (let part = 0; part < MEMBERS_MAX / 1_024 + 1; part += 1) say(rig, { joined: crowd(`here-${part}-`, 1_024) });
    await rig.settle();
    expect([watch.closed, watch.members.size, rig.errors, rig.said('unsubscribe').length]).toMatchObject([true, 0, [{ code: 'PRESENCE_EXCEEDED' }], 1]);
    const reading = async (): Promise<void> => {
      for (let read = await reader.next(); read.done !== true; read = await reader.next());
    };
    await expect(reading()).rejects.toMatchObject({ code: 'PRESENCE_EXCEEDED' });
  });

  it('reports a listener that throws, and ends with the code of its refusal or its messenger', async () => {
    const rig = await joinedRig();
    const watch = rig.messenger.watch('A', () => {
      throw new Error('mine');
    });
    await rig.settle();
    expect(rig.errors).toEqual([expect.objectContaining({ message: 'mine' })]);
    const denied = rig.messenger.watch('denied');
    const ended = denied[Symbol.asyncIterator]().next();
    ended.catch(() => undefined);
    await rig.settle();
    await expect(ended).rejects.toMatchObject({ code: 'RECEIVE_DENIED' });
    const open = watch[Symbol.asyncIterator]();
    const over = open.next();
    void rig.messenger.close();
    await turn();
    expect([await over, watch.closed]).toEqual([{ done: true, value: undefined }, true]);
    expect(() => rig.messenger.watch('')).toThrow(expect.objectContaining({ code: 'MESSENGER_CLOSED' }));
  });

  it('has a room, as events have', async () => {
    const rig = await joinedRig();
    expect(() => rig.messenger.watch('A*')).toThrow(expect.objectContaining({ code: 'ROOM_NAME_INVALID' }));
    expect(rig.messenger.watch('A').room).toBe('A');
  });
});
