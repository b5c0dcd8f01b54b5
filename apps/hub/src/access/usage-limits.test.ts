import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed, knock } from './access.fixture.ts';
import { closeAll, codeOf, connectPeer, joinRoomsWith, openTail, startTestHub } from '../hub.fixture.ts';
import { openSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

async function startLimited() {
  const feed = createTestFeed();
  const hub = await startTestHub({ feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
  return { feed, hub };
}

const EVENT = { 'affected-room': { roomID: 'A' } };

describe('the limits of a key', () => {
  it('bound its connections, tails among them, and give back what has gone', async () => {
    const { feed, hub } = await startLimited();
    const key = await feed.key('messenger', { limits: { connections: 2 } });
    await feed.reached(hub);
    const [peer, tail] = [await joinRoomsWith(key.bearer, hub, 'A'), await openTail(hub, '/rooms/A/events', key.bearer)];
    expect(await knock(hub, '/connect/messenger', key.bearer)).toBe('CONNECTION_LIMIT_REACHED');
    const answer = await hub.call('GET', '/rooms/A/events', { headers: key.bearer });
    expect([answer.status, answer.code, answer.headers.get('retry-after')]).toEqual([429, 'CONNECTION_LIMIT_REACHED', '1']);
    tail.abort();
    await eventually(async () => (await hub.metric('carillon_hub_connections', 'tail')) === 0);
    const next = await connectPeer(hub, 'messenger', { headers: key.bearer });
    await Promise.all([peer.leave(), next.leave()]);
    // A handshake that fails has not used anything up.
    for (let tries = 0; tries < 3; tries += 1) expect(await knock(hub, '/connect/messenger', { ...key.bearer, 'Sec-WebSocket-Version': '7' })).toBe('HANDSHAKE_INVALID');
    for (const again of [1, 2]) expect([again, (await connectPeer(hub, 'messenger', { headers: key.bearer })).isOpen()]).toEqual([again, true]);
  });

  it('bound its subscriptions over all connections, and give back what has gone', async () => {
    const { feed, hub } = await startLimited();
    const key = await feed.key('messenger', { limits: { rooms: 3 } });
    await feed.reached(hub);
    const [first, second] = [await joinRoomsWith(key.bearer, hub, 'A', 'B'), await joinRoomsWith(key.bearer, hub)];
    second.say('{"rooms":["A","B","C"],"create":true}');
    await second.heard();
    expect(second.texts.map(codeOf).filter((code) => code !== 'CONTROL_INVALID')).toEqual(['ROOM_LIMIT_REACHED']);
    expect(await hub.call('GET', '/rooms/A/events', { headers: key.bearer })).toMatchObject({ status: 429, code: 'ROOM_LIMIT_REACHED' });
    await first.unsubscribe('A', 'never');
    const tail = await openTail(hub, '/rooms/A/events', key.bearer);
    expect(tail.response.status).toBe(200);
    tail.abort();
    await first.leave();
    await eventually(async () => (await hub.metric('carillon_hub_connections', 'tail')) === 0);
    await second.subscribe('B', 'C');
    expect(second.texts.map(codeOf).filter((code) => code === 'ROOM_LIMIT_REACHED')).toHaveLength(1);
  });

  it.each(['messenger', 'repeater'] as const)('bound how much a %s sends, which is told and lives on', async (kind) => {
    const { feed, hub } = await startLimited();
    const [key, reader] = [await feed.key(kind, { limits: { eventsPerSecond: 5 } }), await feed.key('messenger')];
    await feed.reached(hub);
    const [listener, peer] = [await joinRoomsWith(reader.bearer, hub, 'A'), await connectPeer(hub, kind, { headers: key.bearer })];
    for (let n = 0; n < 50; n += 1) peer.send(`A\n${n}`);
    await peer.heard();
    const refused = await hub.metric('carillon_hub_refused_total', 'EVENT_RATE_EXCEEDED');
    expect(refused).toBeGreaterThan(30);
    expect(peer.texts.some((text) => codeOf(text) === 'EVENT_RATE_EXCEEDED')).toBe(true);
    await eventually(() => {
      peer.send('A\nlater');
      return listener.frames.includes('A\nlater');
    }, { intervalMs: 100 });
    expect(listener.frames.slice(0, 5)).toEqual([0, 1, 2, 3, 4].map((n) => `A\n${n}`));
  });

  it('bound what goes by HTTP and over a link too', async () => {
    const { feed, hub } = await startLimited();
    await feed.workspace('slow', { limits: { eventsPerSecond: 1 } });
    const [messenger, link] = [await feed.key('messenger', { workspaceId: 'slow' }), await feed.key('hub-link', { workspaceId: 'slow' })];
    await feed.reached(hub);
    const answers = [];
    for (let n = 0; n < 3; n += 1) answers.push(await hub.call('POST', '/event', { body: EVENT, headers: messenger.bearer }));
    expect(answers.map(({ status }) => status)).toContain(429);
    expect(answers.find(({ status }) => status === 429)).toMatchObject({ code: 'EVENT_RATE_EXCEEDED' });
    expect(answers.find(({ status }) => status === 429)?.headers.get('retry-after')).toBe('1');
    const peer = await connectPeer(hub, 'hub', { headers: link.bearer });
    for (let n = 0; n < 3; n += 1) peer.send('A\n');
    await peer.heard();
    expect(peer.texts.map(codeOf)).toContain('EVENT_RATE_EXCEEDED');
    expect(peer.isOpen()).toBe(true);
  });

  it('bound a session, which is heard again when they allow it, whatever it sends then', async () => {
    const { feed, hub } = await startLimited();
    const key = await feed.key('messenger', { limits: { eventsPerSecond: 2 } });
    await feed.reached(hub);
    const session = await openSession({ url: `${hub.url}/k/${key.key}` });
    for (let n = 0; n < 20; n += 1) session.publish('A', 'x', { id: `n${n}` });
    await session.got('error', ({ code }) => code === 'EVENT_RATE_EXCEEDED');
    let fresh = 0;
    await eventually(() => {
      session.publish('A', 'later', { id: `fresh-${(fresh += 1)}` });
      return session.all('published').some(({ events }) => events.some(([id]) => id.startsWith('fresh-')));
    }, { intervalMs: 300 });
  });

  it('bound bytes', async () => {
    const { feed, hub } = await startLimited();
    const key = await feed.key('messenger', { limits: { bytesPerSecond: 1_024 } });
    await feed.reached(hub);
    const peer = await connectPeer(hub, 'messenger', { headers: key.bearer });
    // A burst of one largest frame is let through.
    for (let n = 0; n < 3; n += 1) peer.send(`A\n${'x'.repeat(900_000)}`);
    await peer.heard();
    expect(peer.texts.map(codeOf).filter((code) => code === 'BYTE_RATE_EXCEEDED')).toHaveLength(2);
  });

  it('change for the next event and connection when they are changed', async () => {
    const { feed, hub } = await startLimited();
    const key = await feed.key('messenger', { limits: { connections: 1 } });
    await feed.reached(hub);
    await joinRoomsWith(key.bearer, hub);
    expect(await knock(hub, '/connect/messenger', key.bearer)).toBe('CONNECTION_LIMIT_REACHED');
    await feed.change(key, { limits: {} });
    await feed.reached(hub);
    expect(await knock(hub, '/connect/messenger', key.bearer)).toBe('joined');
    await feed.workspace('default', { limits: { connections: 1 } });
    await feed.reached(hub);
    expect(await knock(hub, '/connect/messenger', key.bearer)).toBe('CONNECTION_LIMIT_REACHED');
  });

  it('of workspace default hold for whoever has no key', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ feedBus: feed.connect() });
    await feed.workspace('default', { limits: { connections: 1 } });
    await feed.reached(hub);
    const peer = await connectPeer(hub, 'messenger');
    expect(await knock(hub, '/connect/repeater')).toBe('CONNECTION_LIMIT_REACHED');
    await peer.leave();
    expect(await knock(hub, '/connect/repeater')).toBe('joined');
  });
});
