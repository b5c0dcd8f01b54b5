import { connect } from 'node:net';

import type { FeedRecord } from '@carillon/schemas';
import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed, type TestFeed } from './access.fixture.ts';
import { closeAll, onClose, openTail, startTestHub, type TestHub, type TestTail } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

interface Said {
  readonly event: string;
  readonly data: { readonly key?: string; readonly seq?: number; readonly record?: FeedRecord };
}

const saidBy = (stream: TestTail): readonly Said[] => [...stream.text().matchAll(/event: (\w+)\ndata: (.*)\n\n/g)].map(([, event = '', data = '']) => ({ event, data: JSON.parse(data) as Said['data'] }));
const keysOf = (said: readonly Said[]): readonly string[] => said.flatMap(({ data }) => data.key ?? []);

async function startRelay(env: Readonly<Record<string, string>> = {}): Promise<{ readonly feed: TestFeed; readonly hub: TestHub }> {
  const feed = createTestFeed();
  return { feed, hub: await startTestHub({ feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys', ...env } }) };
}

describe('the access feed for repeaters', () => {
  it('is read as often at a time as its key, and its workspace, may have connections', async () => {
    const { feed, hub } = await startRelay();
    const [one, more] = [await feed.key('repeater', { limits: { connections: 1 } }), await feed.key('repeater')];
    await feed.reached(hub);
    const first = await openTail(hub, '/access/feed', one.bearer);
    expect(await hub.call('GET', '/access/feed', { headers: one.bearer })).toMatchObject({ status: 429, code: 'CONNECTION_LIMIT_REACHED' });
    await openTail(hub, '/access/feed', more.bearer);
    await feed.workspace('default', { limits: { connections: 2 } });
    await feed.reached(hub);
    expect(await hub.call('GET', '/access/feed', { headers: more.bearer })).toMatchObject({ status: 429, code: 'CONNECTION_LIMIT_REACHED' });
    first.abort();
    await eventually(async () => (await hub.metric('carillon_hub_access_feed_readers')) === 1);
    expect((await openTail(hub, '/access/feed', one.bearer)).response.status).toBe(200);
  });

  it('gives the records of the key\'s workspace, then synced, then every change, and a beat a second', async () => {
    const { feed, hub } = await startRelay();
    const repeater = await feed.key('repeater', { workspaceId: 'teamA' });
    const others = [await feed.key('messenger', { workspaceId: 'teamA' }), await feed.key('service', { workspaceId: 'teamA' })];
    const hidden = [await feed.key('hub-link', { workspaceId: 'teamA' }), await feed.key('messenger', { workspaceId: 'teamB' })];
    await feed.put({ type: 'device', id: 'd', workspaceId: 'teamA', room: 'A', name: 'CP1', repeater: 'r', address: 'ws://127.0.0.1:1', enabled: true });
    await feed.reached(hub);
    const stream = await openTail(hub, '/access/feed', repeater.bearer);
    expect(stream.response.headers.get('content-type')).toBe('text/event-stream');
    await eventually(() => saidBy(stream).some(({ event }) => event === 'synced'));
    const first = saidBy(stream);
    expect(new Set(keysOf(first))).toEqual(new Set(['teamA.workspace.teamA', 'teamA.device.d', ...[repeater, ...others].map(({ id }) => `teamA.key.${id}`)]));
    expect(first.at(-1)).toEqual({ event: 'synced', data: { seq: feed.seq } });
    expect(first.find(({ data }) => data.key === `teamA.key.${repeater.id}`)?.data.record).toEqual({ seq: expect.any(Number) as number, entry: repeater.entry });
    const removedAt = await feed.remove(others[0]?.entry ?? repeater.entry);
    for (const key of hidden) await feed.change(key, { limits: { connections: 1 } });
    await eventually(() => saidBy(stream).some(({ event, data }) => event === 'beat' && data.seq === feed.seq));
    expect(saidBy(stream).slice(first.length).filter(({ event }) => event === 'record')).toEqual([{ event: 'record', data: { key: `teamA.key.${others[0]?.id}`, record: { seq: removedAt, entry: null } } }]);
    expect(stream.text()).not.toContain('teamB');
    expect(await hub.metric('carillon_hub_access_feed_readers')).toBe(1);
  });

  it('tells a repeater that comes back what is gone meanwhile', async () => {
    const { feed, hub } = await startRelay();
    const [repeater, gone] = [await feed.key('repeater'), await feed.key('messenger')];
    const removedAt = await feed.remove(gone.entry);
    await feed.reached(hub);
    const stream = await openTail(hub, '/access/feed', repeater.bearer);
    await eventually(() => saidBy(stream).some(({ event }) => event === 'synced'));
    expect(saidBy(stream).find(({ data }) => data.key === `default.key.${gone.id}`)?.data.record).toEqual({ seq: removedAt, entry: null });
  });

  it('needs no key in open mode, and ends with a hint when the hub drains', async () => {
    const { hub } = await startRelay({ CARILLON_HUB_ACCESS: 'open' });
    const stream = await openTail(hub, '/access/feed');
    await eventually(() => saidBy(stream).some(({ event }) => event === 'synced'));
    await hub.stop();
    await stream.ended;
    expect(stream.text()).toMatch(/retry: \d+\nevent: error\ndata: \{"code":"DRAINING"/);
  });

  it('cuts a reader that does not take it, and gives a large copy to one that does', async () => {
    const { feed, hub } = await startRelay({ CARILLON_HUB_LANE_MAX_BYTES: '1000000', CARILLON_HUB_WRITE_TIMEOUT_MS: '1000' });
    const repeater = await feed.key('repeater');
    const schema = { description: 'x'.repeat(50_000) };
    const ids = Array.from({ length: 400 }, (_, at) => `d${at}`);
    for (const id of ids) await feed.put({ type: 'event-definition', id, workspaceId: 'default', name: id, version: 1, schema });
    await feed.reached(hub);
    const deaf = connect({ port: hub.port, host: '127.0.0.1' });
    onClose(() => deaf.destroy());
    deaf.on('error', () => undefined);
    deaf.write(`GET /access/feed HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer ${repeater.key}\r\n\r\n`);
    deaf.pause();
    const stream = await openTail(hub, '/access/feed', repeater.bearer);
    await eventually(() => saidBy(stream).some(({ event }) => event === 'synced'));
    expect(keysOf(saidBy(stream)).filter((key) => key.includes('event-definition'))).toHaveLength(ids.length);
    await eventually(async () => (await hub.metric('carillon_hub_access_feed_readers')) === 1);
    expect(await hub.metric('carillon_hub_connections_closed_total', 'PEER_SLOW')).toBe(1);
  });
});
