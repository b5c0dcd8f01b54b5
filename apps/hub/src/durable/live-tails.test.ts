import { eventually, trackResources } from '@carillon/testing';
import { isUlid } from '@carillon/wire';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { closeAll, connectPeer, connectRaw, joinRooms, openTail, startTestHub, type TestHub } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';
const tailsOf = async (hub: TestHub): Promise<number> => (await hub.status()).info.hub['live-tails'];
/** Events without their ids. */
const eventsOf = (text: string): string[] => text.split('\n\n').filter((event) => event.includes('data: ')).map((event) => event.replace(/^id: .*\n/, ''));

describe('a live tail', () => {
  it.each([`/rooms/${ROOM}/events`, '/rooms/*/events', '/rooms/ITB-%2A/events', '/rooms/%2A%2A/events'])('streams what its pattern selects, with ids (%s)', async (path) => {
    const hub = await startTestHub();
    const tail = await openTail(hub, path);
    expect([tail.response.status, tail.response.headers.get('content-type'), tail.response.headers.get('cache-control')]).toEqual([200, 'text/event-stream', 'no-store']);
    const writer = await connectPeer(hub, 'messenger');
    writer.send(`${ROOM}\n{"n":1}`);
    writer.send(`${ROOM}\n\n{"n":2}\r\n`);
    await eventually(() => tail.text().includes('{"n":2}'));
    expect(eventsOf(tail.text())).toEqual([`data: ${ROOM}\ndata: {"n":1}`, `data: ${ROOM}\ndata: {"n":2}`]);
    const ids = [...tail.text().matchAll(/^id: (.+)$/gm)].map(([, id = '']) => id);
    expect(ids.length === 2 && ids.every(isUlid) && ids[0] !== ids[1]).toBe(true);
  });

  it('gets nothing of other rooms, and a room with a slash by its encoded name', async () => {
    const hub = await startTestHub();
    const tail = await openTail(hub, '/rooms/site%2Froom%2A/events');
    const writer = await connectPeer(hub, 'messenger');
    for (const room of ['site', 'site/hall', 'site/room1/x', 'SITE/room1', 'site/room1']) writer.send(`${room}\n`);
    await eventually(() => tail.text().includes('site/room1\n\n'));
    expect(eventsOf(tail.text())).toEqual(['data: site/room1']);
  });

  it('cannot be made to show what is no event: line ends in a body are the stream\'s', async () => {
    const hub = await startTestHub();
    const tail = await openTail(hub, '/rooms/A/events');
    const writer = await connectPeer(hub, 'messenger');
    writer.send('A\n{}\n\nevent: drain\rid: forged\n\ndata: fake');
    writer.send('A\nend');
    await eventually(() => tail.text().includes('end'));
    expect(eventsOf(tail.text())).toEqual(['data: A\ndata: {}\ndata: event: drain\ndata: id: forged\ndata: data: fake', 'data: A\ndata: end']);
  });

  it('is one of several, and each gets everything once, from peers of every kind', async () => {
    const hub = await startTestHub();
    const tails = [await openTail(hub, `/rooms/${ROOM}/events`), await openTail(hub, `/rooms/${ROOM}/events`), await openTail(hub, '/rooms/*/events')];
    expect(await tailsOf(hub)).toBe(3);
    const listener = await joinRooms(hub, ROOM);
    await hub.post(ROOM, { key: 'http' });
    for (const kind of ['messenger', 'repeater', 'hub'] as const) {
      (await connectPeer(hub, kind)).send(`${ROOM}\n${kind}`);
      await listener.got(`${ROOM}\n${kind}`);
    }
    for (const tail of tails) {
      await eventually(() => tail.text().includes('data: hub'));
      expect(eventsOf(tail.text())).toEqual(listener.frames.map((frame) => `data: ${frame.replace('\n', '\ndata: ')}`));
    }
  });

  it('that the client aborts leaves nothing behind: no tail, no interest, no lane', async () => {
    const hub = await startTestHub();
    const tails = await Promise.all(Array.from({ length: 20 }, () => openTail(hub, `/rooms/${ROOM}/events`)));
    const stays = await openTail(hub, `/rooms/${ROOM}/events`);
    expect(await tailsOf(hub)).toBe(21);
    for (const tail of tails) tail.abort();
    await eventually(async () => expect(await tailsOf(hub)).toBe(1));
    const before = await hub.metric('carillon_hub_deliveries_total');
    await hub.post(ROOM);
    await eventually(() => stays.text().includes('affected-room'));
    expect(await hub.metric('carillon_hub_deliveries_total')).toBe(before + 1);
    stays.abort();
    await eventually(async () => expect(await tailsOf(hub)).toBe(0));
    expect(await hub.metric('carillon_hub_connections_closed_total', 'tail-closed')).toBe(21);
    expect(await hub.metric('carillon_hub_lanes_backlogged')).toBe(0);
  });

  it('that sends garbage on its connection is ended and forgotten', async () => {
    const hub = await startTestHub();
    const raw = await connectRaw(hub.port);
    raw.socket.write(`GET /rooms/${ROOM}/events HTTP/1.1\r\nHost: hub\r\n\r\n`);
    await eventually(() => raw.text().includes(': connected'));
    raw.socket.write('\0\0 garbage\r\n\r\n');
    await eventually(() => raw.isEnded());
    await eventually(async () => expect(await tailsOf(hub)).toBe(0));
  });

  it('that never reads is cut and counted, and the others go on', async () => {
    const hub = await startTestHub({ env: { CARILLON_HUB_LANE_MAX_BYTES: '1MiB' } });
    const raw = await connectRaw(hub.port);
    raw.socket.write(`GET /rooms/${ROOM}/events HTTP/1.1\r\nHost: hub\r\n\r\n`);
    await eventually(() => raw.text().includes(': connected'));
    raw.socket.pause();
    const tail = await openTail(hub, `/rooms/${ROOM}/events`);
    const listener = await joinRooms(hub, ROOM);
    const writer = await connectPeer(hub, 'messenger');
    const body = 'x'.repeat(200_000);
    let sent = 0;
    await eventually(async () => {
      sent += 1;
      writer.send(`${ROOM}\n${sent} ${body}`);
      await listener.got(`${ROOM}\n${sent} ${body}`);
      return (await tailsOf(hub)) === 1;
    }, { intervalMs: 1 });
    expect(await hub.metric('carillon_hub_connections_closed_total', 'PEER_SLOW')).toBe(1);
    expect(await hub.metric('carillon_hub_events_dropped_total', 'peer-slow')).toBeGreaterThan(0);
    await eventually(() => eventsOf(tail.text()).length === sent);
    raw.socket.resume();
    await eventually(() => raw.isEnded());
  });

  it.each([
    ['%20'.repeat(300), 400, 'PATTERN_INVALID'], ['A**B', 400, 'PATTERN_INVALID'], ['%00', 400, 'PATTERN_INVALID'], ['A%0AB', 400, 'PATTERN_INVALID'], ['%09', 400, 'PATTERN_INVALID'],
  ])('of a pattern that is none is refused (%s)', async (pattern, status, code) => {
    const hub = await startTestHub();
    expect(await hub.call('GET', `/rooms/${pattern}/events`)).toMatchObject({ status, code });
  });

  it('counts as a peer: a full hub refuses it', async () => {
    const hub = await startTestHub({ env: { CARILLON_HUB_CONNECTIONS_MAX: '2' } });
    await connectPeer(hub, 'messenger');
    const tail = await openTail(hub, '/rooms/*/events');
    expect(await hub.call('GET', '/rooms/*/events')).toMatchObject({ status: 503, code: 'CONNECTIONS_EXCEEDED' });
    await expect(connectPeer(hub, 'messenger')).rejects.toThrow('503');
    tail.abort();
    await eventually(async () => expect(await tailsOf(hub)).toBe(0));
    await connectPeer(hub, 'repeater');
  });
});
