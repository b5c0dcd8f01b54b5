import { eventually, trackResources } from '@carillon/testing';
import type { WorkspaceEntry } from '@carillon/schemas';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed } from '../access/access.fixture.ts';
import { closeAll, startTestHub } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';

describe('what a log keeps', () => {
  it('is nothing of a workspace that was deleted, and all of the others', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ log: true, feedBus: feed.connect() });
    const [gone, kept] = [await feed.key('messenger', { workspaceId: 'gone' }), await feed.key('messenger', { workspaceId: 'kept' })];
    await feed.reached(hub);
    const history = async ({ bearer }: typeof gone) => JSON.parse((await hub.call('GET', `/rooms/${ROOM}/history`, { headers: bearer })).text) as { events: unknown[] };
    for (const key of [gone, kept]) expect((await hub.call('POST', `/events?room=${ROOM}`, { headers: { ...key.bearer, 'content-type': 'application/json' }, body: '{"n":1}' })).status).toBe(200);
    expect([(await history(gone)).events.length, (await history(kept)).events.length]).toEqual([1, 1]);

    const entry: WorkspaceEntry = { type: 'workspace', id: 'gone', workspaceId: 'gone', path: 'gone', anonymousKeyId: null, allowedOrigins: [], validation: 'off', limits: {} };
    await feed.remove(entry);
    await eventually(() => expect(hub.logs.some((line) => line.includes('the events of a deleted workspace are gone'))).toBe(true));
    // The same id in another life finds nothing of the former.
    await feed.put(entry);
    const again = await feed.key('messenger', { workspaceId: 'gone' });
    await feed.reached(hub);
    expect([(await history(again)).events.length, (await history(kept)).events.length]).toEqual([0, 1]);
  });

  it('is what the policies say, the longest pattern first', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ log: true, feedBus: feed.connect(), env: { CARILLON_HUB_LOG_SWEEP_INTERVAL_MS: '100', CARILLON_HUB_LOG_MAX_AGE_MS: '1' } });
    const key = await feed.key('messenger');
    await feed.put({ type: 'room', id: 'rp_1', workspaceId: 'default', pattern: 'ITB-*', lane: 'durable', retention: { maxAgeSeconds: 3_600, maxBytes: null } });
    await feed.reached(hub);
    const history = async (room: string) => (JSON.parse((await hub.call('GET', `/rooms/${room}/history`, { headers: key.bearer })).text) as { events: unknown[] }).events.length;
    for (const room of [ROOM, 'HALL-1']) expect((await hub.call('POST', `/events?room=${room}`, { headers: { ...key.bearer, 'content-type': 'application/json' }, body: '{"n":1}' })).status).toBe(200);
    await eventually(async () => expect(await history('HALL-1')).toBe(0));
    expect(await history(ROOM)).toBe(1);
  });

  it('is nothing of a room that is live by its policy', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ log: true, feedBus: feed.connect() });
    const key = await feed.key('messenger');
    await feed.put({ type: 'room', id: 'rp_1', workspaceId: 'default', pattern: 'ITB-*', lane: 'live', retention: { maxAgeSeconds: 3_600, maxBytes: null } });
    await feed.reached(hub);
    const answer = await hub.call('POST', `/events?room=${ROOM}`, { headers: { ...key.bearer, 'content-type': 'application/json' }, body: '{"n":1}' });
    expect(JSON.parse(answer.text)).toMatchObject({ class: 'live' });
    await feed.put({ type: 'room', id: 'rp_1', workspaceId: 'default', pattern: 'ITB-*', lane: 'durable', retention: { maxAgeSeconds: 3_600, maxBytes: null } });
    await feed.reached(hub);
    const stored = await hub.call('POST', `/events?room=${ROOM}`, { headers: { ...key.bearer, 'content-type': 'application/json' }, body: '{"n":2}' });
    expect(JSON.parse(stored.text)).toMatchObject({ class: 'stored', seq: 1 });
  });
});
