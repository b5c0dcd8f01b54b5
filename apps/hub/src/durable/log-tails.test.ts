import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed } from '../access/access.fixture.ts';
import { closeAll, connectPeer, connectRaw, openTail, startTestHub, type TestHub, type TestTail } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

interface Shown {
  readonly id: string | undefined;
  readonly event: string | undefined;
  readonly data: string;
}

/** The whole events of a stream, in the order they came. */
function shown(text: string): Shown[] {
  return text.split('\n\n').slice(0, -1).filter((block) => block.includes('data: ')).map((block) => ({
    id: /^id: (.*)$/m.exec(block)?.[1],
    event: /^event: (.*)$/m.exec(block)?.[1],
    data: [...block.matchAll(/^data: (.*)$/gm)].map(([, line]) => line).join('\n'),
  }));
}
const eventsOf = (tail: TestTail): Shown[] => shown(tail.text()).filter(({ event }) => event === undefined);
const dataOf = (tail: TestTail): string[] => eventsOf(tail).map(({ data }) => data);
const ofKind = (tail: TestTail, kind: string): Shown[] => shown(tail.text()).filter(({ event }) => event === kind);
const seqOf = (id: string | undefined): number => Number(id?.slice(id.lastIndexOf('-') + 1));

async function follow(hub: TestHub, query = '', { room = 'A', headers = {} }: { readonly room?: string; readonly headers?: Readonly<Record<string, string>> } = {}): Promise<TestTail> {
  const tail = await openTail(hub, `/rooms/${room}/events${query}`, headers);
  expect(tail.response.status).toBe(200);
  await eventually(() => ofKind(tail, 'live').length === 1, { what: 'the tail to be live' });
  return tail;
}

/** Publishes numbers from `from` on to a room, and resolves when they are stored. */
async function fill(hub: TestHub, count: number, { from = 1, room = 'A' }: { readonly from?: number; readonly room?: string } = {}): Promise<void> {
  const body = Array.from({ length: count }, (_, n) => `${from + n}`).join('\n');
  const answer = await hub.call('POST', `/events?room=${room}`, { body, headers: { 'content-type': 'application/x-ndjson' } });
  expect(answer.headers.get('carillon-failed')).toBe('0');
}
const frames = (from: number, to: number, room = 'A'): string[] => Array.from({ length: to - from + 1 }, (_, n) => `${room}\n${from + n}`);
const epochOf = async (hub: TestHub): Promise<string> => (JSON.parse((await hub.call('GET', '/rooms/A/history')).text) as { epoch: string }).epoch;

describe('a live tail of a room that is kept', () => {
  it('begins now when nothing is asked for, with a place to come back to', async () => {
    const hub = await startTestHub({ log: true });
    await fill(hub, 3);
    const tail = await follow(hub);
    const place = `${await epochOf(hub)}-3`;
    expect(ofKind(tail, 'live')).toEqual([{ id: place, event: 'live', data: '{"seq":3}' }]);
    await fill(hub, 2, { from: 4 });
    await eventually(() => dataOf(tail).length === 2);
    expect(eventsOf(tail)).toEqual([4, 5].map((n) => ({ id: place.replace(/3$/, `${n}`), event: undefined, data: `A\n${n}` })));
  });

  it('begins now also where others have followed for long', async () => {
    const hub = await startTestHub({ log: true });
    const first = await follow(hub);
    await fill(hub, 5);
    await eventually(() => dataOf(first).length === 5);
    const second = await follow(hub);
    await fill(hub, 1, { from: 6 });
    await eventually(() => dataOf(second).length > 0);
    expect([dataOf(second), seqOf(ofKind(second, 'live')[0]?.id)]).toEqual([['A\n6'], 5]);
  });

  it.each([
    ['seq:0', 1], ['seq:7', 8], ['last:4', 7], ['last:0', 11], ['last:9999', 1], ['at:0', 1], ['at:1970-01-01T00:00:00Z', 1], ['at:9000000000000000', 11], ['PLACE-7', 8], ['PLACE-10', 11],
  ])('begins where it is asked to, %s, and goes on live', async (since, first) => {
    const hub = await startTestHub({ log: true });
    await fill(hub, 10);
    const tail = await follow(hub, `?since=${since.replace('PLACE', await epochOf(hub))}`);
    await fill(hub, 3, { from: 11 });
    await eventually(() => dataOf(tail).at(-1) === 'A\n13');
    expect(dataOf(tail)).toEqual(frames(first, 13));
    expect(eventsOf(tail).map(({ id }) => seqOf(id))).toEqual(Array.from({ length: 14 - first }, (_, n) => first + n));
    expect(ofKind(tail, 'gap')).toEqual([]);
  });

  it('goes on where an event source was, whatever it asked for first', async () => {
    const hub = await startTestHub({ log: true });
    const tail = await follow(hub, '?since=seq:0');
    await fill(hub, 6);
    await eventually(() => dataOf(tail).length === 6);
    const third = eventsOf(tail)[2]?.id ?? '';
    tail.abort();
    const again = await follow(hub, '?since=seq:0', { headers: { 'last-event-id': third } });
    expect(dataOf(again)).toEqual(frames(4, 6));
    const strange = await follow(hub, '?since=seq:5', { headers: { 'last-event-id': '01JD6Q3V7E8ZK4M2N5P6R7S8T9' } });
    expect(dataOf(strange)).toEqual(frames(6, 6));
  });

  it.each(['-5', 'EPOCH--1', 'EPOCH-', 'EPOCH-1.5', 'EPOCH-99999999999999999', '1', 'seq:1', 'nothing', '{"seq":1}'])('begins now when an event source comes back with %j, which is no place', async (lastEventId) => {
    const hub = await startTestHub({ log: true });
    await fill(hub, 3);
    const tail = await follow(hub, '', { headers: { 'last-event-id': lastEventId.replace('EPOCH', await epochOf(hub)) } });
    await fill(hub, 1, { from: 4 });
    await eventually(() => dataOf(tail).length > 0);
    expect([dataOf(tail), ofKind(tail, 'gap'), ofKind(tail, 'live').map(({ data }) => data)]).toEqual([['A\n4'], [], ['{"seq":3}']]);
  });

  it('has no gap and no repeat while much is published', async () => {
    const hub = await startTestHub({ log: true });
    await fill(hub, 5_000);
    const tails: TestTail[] = [];
    const publishing = (async () => {
      for (let from = 5_001; from <= 8_000; from += 100) await fill(hub, 100, { from });
    })();
    for (let n = 0; n < 6; n += 1) tails.push(await follow(hub, `?since=seq:${n * 1_000}`, { room: n % 2 === 0 ? 'A' : '*' }));
    await publishing;
    for (const [n, tail] of tails.entries()) {
      await eventually(() => dataOf(tail).at(-1) === 'A\n8000');
      expect(dataOf(tail)).toEqual(frames(n * 1_000 + 1, 8_000));
    }
  });

  it('shows events of live rooms without an id, so that they are not what it comes back with', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ log: true, feedBus: feed.connect() });
    await feed.put({ type: 'room', workspaceId: 'default', id: 'r1', pattern: 'LIVE', lane: 'live', retention: { maxAgeSeconds: null, maxBytes: null } });
    await feed.reached(hub);
    const tail = await follow(hub, '', { room: '*' });
    await fill(hub, 1);
    await fill(hub, 1, { room: 'LIVE' });
    await eventually(() => dataOf(tail).length === 2);
    expect(eventsOf(tail).map(({ id, data }) => [data, id === undefined ? undefined : seqOf(id)]).sort()).toEqual([['A\n1', 1], ['LIVE\n1', undefined]]);
  });

  it('is told of a log that is no more, and gets the new one from its beginning', async () => {
    const hub = await startTestHub({ log: true });
    await fill(hub, 2);
    for (const tail of [await follow(hub, '?since=older-40'), await follow(hub, '', { headers: { 'last-event-id': 'older-40' } })]) {
      expect(shown(tail.text()).slice(0, 3).map(({ event, data }) => [event, data])).toEqual([['gap', '{"from":41,"to":41,"reason":"epoch"}'], [undefined, 'A\n1'], [undefined, 'A\n2']]);
    }
  });

  it('survives the hub: what was stored while nobody followed comes after the restart', async () => {
    const first = await startTestHub({ log: true });
    const tail = await follow(first);
    await fill(first, 2);
    await eventually(() => dataOf(tail).length === 2);
    const last = eventsOf(tail).at(-1)?.id ?? '';
    tail.abort();
    await fill(first, 2, { from: 3 });
    await first.stop();
    const second = await startTestHub({ log: true, dataDir: first.dataDir });
    expect(dataOf(await follow(second, '', { headers: { 'last-event-id': last } }))).toEqual(frames(3, 4));
  });

  it('is ended by a hub that drains, wherever it is, and goes on at the next', async () => {
    const first = await startTestHub({ log: true });
    await fill(first, 9_000);
    const tail = await openTail(first, '/rooms/A/events?since=seq:0');
    await first.stop();
    await tail.ended;
    const got = dataOf(tail);
    expect(got).toEqual(frames(1, got.length));
    expect(ofKind(tail, 'drain').map(({ data }) => data)).toEqual(['{"code":"DRAINING"}']);
    const second = await startTestHub({ log: true, dataDir: first.dataDir });
    const last = eventsOf(tail).at(-1)?.id;
    expect(dataOf(await follow(second, '?since=seq:0', last === undefined ? {} : { headers: { 'last-event-id': last } }))).toEqual(frames(got.length + 1, 9_000));
  });

  it.each(['seq:4', 'seq:-1', 'seq:', '3', 'last:10001', 'last:-1', 'at:yesterday', 'at:-5', '', 'now', 'EPOCH-4', '-5', '%00', 'seq:99999999999999999'])('cannot begin at %j', async (since) => {
    const hub = await startTestHub({ log: true });
    await fill(hub, 3);
    expect(await hub.call('GET', `/rooms/A/events?since=${since.replace('EPOCH', await epochOf(hub))}`)).toMatchObject({ status: 400, code: 'SINCE_INVALID' });
    expect((await hub.status()).info.hub['live-tails']).toBe(0);
  });

  it('cannot come back from what the log has not come to', async () => {
    const hub = await startTestHub({ log: true });
    expect(await hub.call('GET', '/rooms/A/events', { headers: { 'last-event-id': `${await epochOf(hub)}-1` } })).toMatchObject({ status: 400, code: 'SINCE_INVALID' });
    expect(await hub.call('GET', '/rooms/A/events?since=seq:0&since=seq:0')).toMatchObject({ status: 400, code: 'REQUEST_MALFORMED' });
  });

  it('needs a log for its past, and none for what comes', async () => {
    const hub = await startTestHub();
    expect(await hub.call('GET', '/rooms/A/events?since=seq:0')).toMatchObject({ status: 404, code: 'LOG_ABSENT' });
    const tail = await openTail(hub, '/rooms/A/events', { 'last-event-id': 'older-40' });
    await fill(hub, 1);
    await eventually(() => dataOf(tail).length === 1);
    expect(ofKind(tail, 'live')).toEqual([]);
  });

  it('leaves nothing behind, wherever it was', async () => {
    const hub = await startTestHub({ log: true });
    await fill(hub, 9_000);
    const tails = await Promise.all(Array.from({ length: 10 }, (_, n) => openTail(hub, `/rooms/*/events${n % 2 === 0 ? '' : '?since=seq:0'}`)));
    for (const tail of tails) tail.abort();
    await eventually(async () => (await hub.status()).info.hub['live-tails'] === 0);
    const before = await hub.metric('carillon_hub_deliveries_total');
    await fill(hub, 5);
    expect(await hub.metric('carillon_hub_deliveries_total')).toBe(before);
  });
});

describe('a live tail whose reader is slow', () => {
  it('reads the log at the pace of its reader: what a lane would never hold does not cut it, and nothing is missed', async () => {
    const hub = await startTestHub({ log: true, env: { CARILLON_HUB_LANE_MAX_BYTES: '2MiB' } });
    const writer = await connectPeer(hub, 'messenger');
    const body = 'x'.repeat(100_000);
    const store = async (from: number, to: number): Promise<void> => {
      for (let n = from; n <= to; n += 1) writer.send(`A\n${n} ${body}`);
      await eventually(async () => (await hub.metric('carillon_hub_events_stored_total')) === to);
    };
    // More than the kernel's buffers of both sides take.
    await store(1, 160);
    const raw = await connectRaw(hub.port);
    raw.socket.pause();
    raw.socket.write('GET /rooms/A/events?since=seq:0 HTTP/1.1\r\nHost: hub\r\n\r\n');
    await eventually(async () => (await hub.status()).info.hub['live-tails'] === 1);
    await store(161, 200);
    raw.socket.resume();
    await eventually(() => raw.text().includes('event: live') && raw.text().includes('data: 200 '), { intervalMs: 200 });
    expect([...raw.text().matchAll(/^data: ([0-9]+) x/gm)].map(([, n]) => Number(n))).toEqual(Array.from({ length: 200 }, (_, n) => n + 1));
    expect(await hub.metric('carillon_hub_connections_closed_total', 'PEER_SLOW')).toBe(0);
  });

  it('is cut when its lane overflows, told when to come back, and has missed nothing when it does', async () => {
    const hub = await startTestHub({ log: true, env: { CARILLON_HUB_LANE_MAX_BYTES: '1MiB' } });
    const raw = await connectRaw(hub.port);
    raw.socket.write('GET /rooms/A/events HTTP/1.1\r\nHost: hub\r\n\r\n');
    await eventually(() => raw.text().includes('event: live'));
    raw.socket.pause();
    const writer = await connectPeer(hub, 'messenger');
    const body = 'x'.repeat(200_000);
    let sent = 0;
    await eventually(async () => {
      sent += 1;
      writer.send(`A\n${sent} ${body}`);
      await writer.heard();
      return (await hub.status()).info.hub['live-tails'] === 0;
    }, { intervalMs: 1 });
    expect(await hub.metric('carillon_hub_connections_closed_total', 'PEER_SLOW')).toBe(1);
    raw.socket.resume();
    await eventually(() => raw.isEnded());
    await eventually(async () => (await hub.metric('carillon_hub_events_stored_total')) === sent);
    const whole = raw.text().slice(0, raw.text().lastIndexOf('\n\n'));
    const last = [...whole.matchAll(/^id: (\S+)$/gm)].at(-1)?.[1] ?? '';
    const again = await follow(hub, '', { headers: { 'last-event-id': last } });
    expect(seqOf(last)).toBeLessThan(sent);
    expect(dataOf(again).map((data) => Number.parseInt(data.slice(2), 10))).toEqual(Array.from({ length: sent - seqOf(last) }, (_, n) => seqOf(last) + n + 1));
  });
});

describe('rights of a live tail', () => {
  it('are asked for each event, of what was and of what comes, and end it when they end', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ log: true, feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
    const service = await feed.key('service');
    const reader = await feed.key('messenger', { permissions: { send: [], receive: ['A'], deny: { receive: [{ room: 'A', event: 'secret' }] } } });
    const stranger = await feed.key('messenger', { permissions: { send: [], receive: ['B'] } });
    await feed.reached(hub);
    const publish = async (...keys: readonly string[]): Promise<void> => {
      for (const key of keys) await hub.call('POST', '/events?room=A', { body: { key }, headers: service.bearer });
    };
    await publish('one', 'secret', 'two');
    const tail = await follow(hub, '?since=seq:0', { headers: reader.bearer });
    await publish('secret', 'three');
    await eventually(() => dataOf(tail).length === 3);
    expect(dataOf(tail)).toEqual(['one', 'two', 'three'].map((key) => `A\n{"key":"${key}"}`));
    for (const query of ['', '?since=seq:0', '?since=seq:99']) expect(await hub.call('GET', `/rooms/A/events${query}`, { headers: stranger.bearer })).toMatchObject({ status: 403, code: 'RECEIVE_DENIED' });
    await feed.remove(reader.entry);
    await tail.ended;
    expect(ofKind(tail, 'error').map(({ data }) => JSON.parse(data) as unknown)).toMatchObject([{ code: 'ACCESS_KEY_REVOKED' }]);
  });
});
