import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed } from '../access/access.fixture.ts';
import { closeAll, connectRaw, startTestHub } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

/** Requests in one write: the answers to all but the first wait, since the first is a stream without end. */
const pipelined = (paths: readonly string[], key: string): string => paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer ${key}\r\n\r\n`).join('');

describe('requests that stand behind one without an end', () => {
  it('are over when their socket is, and are not counted against the key any more', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
    const [reader, repeater] = [await feed.key('messenger', { limits: { connections: 40, rooms: 40 } }), await feed.key('repeater')];
    await feed.reached(hub);
    const [tails, feeds] = [await connectRaw(hub.port), await connectRaw(hub.port)];
    tails.socket.write(pipelined(Array.from({ length: 40 }, () => '/rooms/A/events'), reader.key));
    feeds.socket.write(pipelined(Array.from({ length: 40 }, () => '/access/feed'), repeater.key));
    await eventually(async () => expect([await hub.metric('carillon_hub_connections', 'tail'), await hub.metric('carillon_hub_access_feed_readers')]).toEqual([40, 40]));
    for (const { socket } of [tails, feeds]) socket.destroy();
    await eventually(async () => expect([await hub.metric('carillon_hub_connections', 'tail'), await hub.metric('carillon_hub_access_feed_readers')]).toEqual([0, 0]));
    expect(await hub.metric('carillon_hub_connections_closed_total')).toBe(80);
    // A drain waits for every request that is not over.
    const beganMs = performance.now();
    await hub.stop();
    expect(performance.now() - beganMs).toBeLessThan(2_500);
    expect(hub.logs.some((line) => line.includes('drain deadline') || line.includes('MaxListeners'))).toBe(false);
  });
});
