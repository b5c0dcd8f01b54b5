import { eventually, trackResources } from '@carillon/testing';
import { ERRORS } from '@carillon/wire';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed } from '../access/access.fixture.ts';
import { createFailingLog, type FailingLog } from './failing-log.fixture.ts';
import { closeAll, connectPeer, connectRaw, openTail, startTestHub, type TestHub, type TestTail } from '../hub.fixture.ts';
import { openSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

async function startFailing(): Promise<{ readonly hub: TestHub; readonly log: FailingLog }> {
  const log = createFailingLog();
  return { hub: await startTestHub({ log: true, wrapLog: log.wrap }), log };
}
const NDJSON = { 'content-type': 'application/x-ndjson' };
const fill = (hub: TestHub, from: number, to: number) => hub.call('POST', '/events?room=A', { body: Array.from({ length: to - from + 1 }, (_, n) => `${from + n}`).join('\n'), headers: NDJSON });
const numbersOf = (tail: TestTail): number[] => [...tail.text().matchAll(/^data: ([0-9]+)$/gm)].map(([, n]) => Number(n));
const frames = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n);

describe('a log that fails', () => {
  it.each(['LOG_UNAVAILABLE', 'LOG_FULL', 'LOG_BACKLOGGED', 'EVENT_TOO_LARGE'] as const)('is answered with %s, and the same id may be tried again', async (code) => {
    const { hub, log } = await startFailing();
    log.fail('append', 1, code);
    const headers = { 'carillon-event-id': 'x' };
    expect(await hub.call('POST', '/events?room=A', { body: '1', headers })).toMatchObject({ status: ERRORS[code].http, code });
    expect(await hub.metric('carillon_hub_refused_total', code)).toBe(1);
    expect(JSON.parse((await hub.call('POST', '/events?room=A', { body: '1', headers })).text)).toEqual({ id: 'x', room: 'A', class: 'stored', seq: 1 });
  });

  it('is told of each line of a batch that it did not take', async () => {
    const { hub, log } = await startFailing();
    log.fail('append', 2, 'LOG_FULL');
    const answer = await fill(hub, 1, 4);
    const lines = answer.text.trimEnd().split('\n').map((line) => JSON.parse(line) as { readonly id: string; readonly code?: string; readonly seq?: number });
    expect([answer.status, answer.headers.get('carillon-failed'), lines.map(({ code, seq }) => code ?? seq), lines.every(({ id }) => id.length === 26)]).toEqual([200, '2', ['LOG_FULL', 'LOG_FULL', 1, 2], true]);
  });

  it('is no history and no beginning until it answers', async () => {
    const { hub, log } = await startFailing();
    await fill(hub, 1, 3);
    for (const [path, call] of [['/rooms/A/history', 'bounds'], ['/rooms/A/history', 'readLast'], ['/rooms/A/history?after=0', 'read'], ['/rooms/A/events?since=seq:0', 'bounds'], ['/rooms/A/events?since=last:2', 'readLast'], ['/rooms/A/events?since=at:0', 'sequenceAt']] as const) {
      log.fail(call, 1, 'LOG_UNAVAILABLE');
      expect([path, call, await hub.call('GET', path)]).toMatchObject([path, call, { status: 503, code: 'LOG_UNAVAILABLE' }]);
    }
    expect((await hub.call('GET', '/rooms/A/history')).status).toBe(200);
    log.fail('bounds', 1, new Error('something else entirely'));
    expect(await hub.call('GET', '/rooms/A/history')).toMatchObject({ status: 500, code: 'INTERNAL', text: expect.not.stringContaining('entirely') as string });
    expect(hub.logs.some((line) => line.includes('something else entirely'))).toBe(true);
  });

  it('is read again by a live tail, which leaves nothing out and gives nothing twice', async () => {
    const { hub, log } = await startFailing();
    await fill(hub, 1, 3_000);
    log.fail('read', 1, 'LOG_UNAVAILABLE');
    const tail = await openTail(hub, '/rooms/A/events?since=seq:10');
    await eventually(() => numbersOf(tail).length > 0);
    log.fail('read', 2, 'LOG_UNAVAILABLE');
    await fill(hub, 3_001, 3_200);
    await eventually(() => tail.text().includes('event: live') && numbersOf(tail).at(-1) === 3_200);
    expect(numbersOf(tail)).toEqual(frames(11, 3_200));
    expect(log.failed).toBeGreaterThan(0);
  });

  it.each(['', '?since=seq:0'])('is tailed when it can be, and what is live comes meanwhile (%s)', async (query) => {
    const { hub, log } = await startFailing();
    log.fail('tail.add', 2, 'LOG_UNAVAILABLE');
    const tail = await openTail(hub, `/rooms/A/events${query}`);
    await eventually(() => tail.text().includes('event: live'));
    const writer = await connectPeer(hub, 'messenger');
    writer.send('A\n1');
    await eventually(() => numbersOf(tail).length === 1);
    expect([log.failed, numbersOf(tail)]).toEqual([2, [1]]);
  });

  it('keeps no tail that is gone before it answers', async () => {
    const { hub, log } = await startFailing();
    log.fail('tail.add', Infinity, 'LOG_UNAVAILABLE');
    const tail = await openTail(hub, '/rooms/A/events?since=seq:0');
    await eventually(() => log.failed > 0);
    tail.abort();
    await eventually(async () => (await hub.status()).info.hub['live-tails'] === 0);
  });
});

describe('a log that takes its time', () => {
  it('opens no tail for a reader that has left meanwhile', async () => {
    const { hub, log } = await startFailing();
    await fill(hub, 1, 3);
    const release = log.hold('bounds');
    const raw = await connectRaw(hub.port);
    raw.socket.write('GET /rooms/A/events?since=seq:0 HTTP/1.1\r\nHost: hub\r\n\r\n');
    await eventually(() => log.held === 1);
    raw.socket.destroy();
    for (let calls = 0; calls < 5; calls += 1) await hub.call('GET', '/health');
    release();
    await hub.call('GET', '/rooms/A/history');
    await eventually(async () => (await hub.status()).info.hub['live-tails'] === 0);
    expect(await hub.metric('carillon_hub_refused_total')).toBe(0);
  });

  it('gives nothing to whose right to it has ended meanwhile', async () => {
    const feed = createTestFeed();
    const log = createFailingLog();
    const hub = await startTestHub({ log: true, wrapLog: log.wrap, feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
    const key = await feed.key('messenger');
    await feed.reached(hub);
    const release = log.hold('bounds');
    const asked = ['/rooms/A/events?since=seq:0', '/rooms/A/history'].map((path) => hub.call('GET', path, { headers: key.bearer }));
    await eventually(() => log.held === 2);
    await feed.remove(key.entry);
    await feed.reached(hub);
    release();
    for (const answer of asked) expect(await answer).toMatchObject({ status: 401, code: 'ACCESS_KEY_REVOKED' });
  });
});

describe('an event whose time is over', () => {
  it('is told as a gap, to a live tail and in a page', async () => {
    const hub = await startTestHub({ log: true });
    await fill(hub, 1, 1);
    const session = await openSession(hub);
    await session.store('A', '2', { id: 'short', ttl: 1 });
    await fill(hub, 3, 3);
    const gap = '{"from":2,"to":2,"reason":"retention"}';
    await eventually(async () => (await hub.call('GET', '/rooms/A/history?after=0')).text.includes(`"gaps":[${gap}]`));
    const tail = await openTail(hub, '/rooms/A/events?since=seq:0');
    await eventually(() => tail.text().includes('event: live'));
    expect(tail.text()).toMatch(/data: 1\n\nevent: gap\ndata: \{"from":2,"to":2,"reason":"retention"\}\n\nid: \S+-3\ndata: A\ndata: 3\n\n/);
  });

  it('does not disturb a live tail: it looks in the log, and goes on with what comes', async () => {
    const hub = await startTestHub({ log: true });
    const tail = await openTail(hub, '/rooms/A/events');
    await eventually(() => tail.text().includes('event: live'));
    const session = await openSession(hub);
    await fill(hub, 1, 50);
    // Over before it was stored.
    await session.store('A', '51', { id: 'late', at: 1_000, ttl: 1 });
    await fill(hub, 52, 100);
    await eventually(() => numbersOf(tail).at(-1) === 100);
    expect(numbersOf(tail)).toEqual([...frames(1, 50), ...frames(52, 100)]);
    await eventually(() => expect(tail.text().match(/^event: live$/gm)?.length).toBe(2));
  });
});
