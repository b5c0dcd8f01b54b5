import type { KeyEntry } from '@carillon/schemas';
import { trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { ALL, createTestFeed, type KeyOptions, type TestFeed, type TestKey } from '../access/access.fixture.ts';
import { closeAll, startTestHub, type TestHub } from '../hub.fixture.ts';
import { enter, look, sees, watch } from './presence.fixture.ts';
import { openSession, type TestSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

interface Site {
  readonly feed: TestFeed;
  readonly hub: TestHub;
  join(options?: KeyOptions): Promise<TestSession & { readonly key: TestKey }>;
}

async function startSite(): Promise<Site> {
  const feed = createTestFeed();
  const hub = await startTestHub({ log: true, feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
  return {
    feed, hub,
    join: async (options) => {
      const key = await feed.key('messenger', options);
      await feed.reached(hub);
      return { ...(await openSession({ url: `${hub.url}/k/${key.key}` })), key };
    },
  };
}

const NOTHING: KeyEntry['permissions'] = { send: [], receive: [], deny: { send: [], receive: [] } };

const codeFor = async (session: TestSession, request: string): Promise<string> => (await session.got('error', (frame) => frame.request === request)).code;

describe('who may be seen in a room, and who may see', () => {
  it('is whoever may send to it, and whoever may receive all of it', async () => {
    const { hub, join } = await startSite();
    const [sender, receiver] = [await join({ permissions: { send: ['A-*'], receive: [] } }), await join({ permissions: { send: [], receive: ['A-1'] } })];
    await enter(sender, 'e', 'A-1', { name: 'ann' });
    await watch(receiver, 'w', 'A-1');
    await sees(receiver, 'w', ['ann']);
    sender.say({ op: 'watch', request: 'x', room: 'A-1' });
    sender.say({ op: 'enter', request: 'y', room: 'B' });
    receiver.say({ op: 'enter', request: 'x', room: 'A-1' });
    receiver.say({ op: 'watch', request: 'y', room: 'A-2' });
    expect([await codeFor(sender, 'x'), await codeFor(sender, 'y'), await codeFor(receiver, 'x'), await codeFor(receiver, 'y')]).toEqual(['RECEIVE_DENIED', 'SEND_DENIED', 'SEND_DENIED', 'RECEIVE_DENIED']);
    expect(await hub.call('GET', '/rooms/A-1/presence', { headers: sender.key.bearer })).toMatchObject({ status: 403, code: 'RECEIVE_DENIED' });
    expect(await hub.call('GET', '/rooms/A-1/presence')).toMatchObject({ status: 401, code: 'ACCESS_KEY_REQUIRED' });
    expect((await look(hub, 'A-1', receiver.key.bearer)).members).toMatchObject([{ name: 'ann' }]);
  });

  it('changes with the rights: who may not any more is out, and told', async () => {
    const { feed, hub, join } = await startSite();
    const [ann, watcher, all] = [await join(), await join(), await join()];
    await enter(ann, 'e', 'A', { name: 'ann' });
    for (const session of [watcher, all]) await watch(session, 'w', 'A');
    await feed.change(ann.key, { permissions: NOTHING });
    await feed.change(watcher.key, { permissions: NOTHING });
    await feed.reached(hub);
    expect([await codeFor(ann, 'e'), await codeFor(watcher, 'w')]).toEqual(['SEND_DENIED', 'RECEIVE_DENIED']);
    await sees(all, 'w', []);
    // Its name may be used again.
    ann.say({ op: 'unsubscribe', request: 'e' });
    expect(await ann.got('error', ({ code }) => code === 'REQUEST_UNKNOWN')).toMatchObject({ request: 'e' });
    await feed.remove(all.key.entry);
    expect((await all.ended).reason).toContain('ACCESS_KEY_REVOKED');
  });

  it('goes on with another key on the same connection as far as that one may', async () => {
    const { feed, hub, join } = await startSite();
    const [session, watcher] = [await join(), await join()];
    await enter(session, 'a', 'A', { name: 'x' });
    await enter(session, 'b', 'B', { name: 'x' });
    await watch(watcher, 'wa', 'A');
    await watch(watcher, 'wb', 'B');
    const next = await feed.key('messenger', { permissions: { send: ['A'], receive: ['*'] } });
    await feed.reached(hub);
    session.say({ op: 'refresh', request: 'r', key: next.key });
    await session.got('refreshed');
    expect(await codeFor(session, 'b')).toBe('SEND_DENIED');
    await sees(watcher, 'wb', []);
    await sees(watcher, 'wa', ['x']);
  });

  it('has a name for one key at a time, and says so to the other', async () => {
    const { join } = await startSite();
    const [ann, other, watcher] = [await join(), await join(), await join()];
    await enter(ann, 'e', 'A', { name: 'ann' });
    await watch(watcher, 'w', 'A');
    other.say({ op: 'enter', request: 'e', room: 'A', name: 'ann', data: 'not ann' });
    expect(await codeFor(other, 'e')).toBe('PRESENCE_NAME_IN_USE');
    ann.say({ op: 'unsubscribe', request: 'e' });
    await sees(watcher, 'w', []);
    await enter(other, 'e', 'A', { name: 'ann' });
    await sees(watcher, 'w', ['ann']);
  });

  it('is of one workspace: rooms of the same name have nothing to do with each other', async () => {
    const { hub, join } = await startSite();
    const [one, two] = [await join({ workspaceId: 'w1' }), await join({ workspaceId: 'w2' })];
    await enter(one, 'e', 'A', { name: 'ann' });
    await watch(two, 'w', 'A');
    await enter(two, 'e', 'A', { name: 'ann', data: 'two' });
    await sees(two, 'w', ['ann']);
    expect((await look(hub, 'A', one.key.bearer)).members).not.toHaveProperty('0.data');
    expect((await look(hub, 'A', two.key.bearer)).members).toMatchObject([{ name: 'ann', data: 'two' }]);
    expect((await look(hub, 'default', one.key.bearer)).members).toEqual([]);
  });

  it('costs what an event costs', async () => {
    const { join } = await startSite();
    const session = await join({ permissions: ALL, limits: { eventsPerSecond: 3 } });
    for (let n = 0; n < 10; n += 1) session.say({ op: 'enter', request: `e${n}`, room: 'A', name: `n${n}` });
    expect(await session.got('error')).toMatchObject({ code: 'EVENT_RATE_EXCEEDED' });
  });
});
