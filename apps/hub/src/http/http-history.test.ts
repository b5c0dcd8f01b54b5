import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed } from '../access/access.fixture.ts';
import { closeAll, connectPeer, startTestHub, type TestHub } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

interface Page {
  readonly events: readonly { readonly id: string; readonly seq: number; readonly room: string; readonly at: number; readonly from?: string; readonly body?: unknown; readonly base64?: string }[];
  readonly gaps: readonly object[];
  readonly next: string;
  readonly isLast: boolean;
  readonly epoch: string;
}

async function page(hub: TestHub, path: string): Promise<Page> {
  const { status, text } = await hub.call('GET', path);
  if (status !== 200) throw new Error(text);
  return JSON.parse(text) as Page;
}
const bodies = ({ events }: Page): unknown[] => events.map(({ body }) => body);
/** Publishes numbers to rooms, one after the other: the first has sequence 1. */
async function fill(hub: TestHub, ...rooms: readonly string[]): Promise<void> {
  const lines = rooms.map((roomID, n) => JSON.stringify({ 'affected-room': { roomID }, n: n + 1 }));
  await hub.call('POST', '/events', { body: lines.join('\n'), headers: { 'content-type': 'application/x-ndjson' } });
}
const numbers = (got: Page): unknown[] => bodies(got).map((body) => (body as { n: number }).n);

describe('GET /rooms/:room/history', () => {
  it('is the newest page, oldest first', async () => {
    const hub = await startTestHub({ log: true });
    const before = Date.now();
    await fill(hub, 'A', 'B', 'A', 'A');
    const got = await page(hub, '/rooms/A/history');
    expect(got).toEqual({ events: [1, 3, 4].map((n) => ({ id: expect.any(String) as string, seq: n, room: 'A', at: expect.any(Number) as number, body: { 'affected-room': { roomID: 'A' }, n } })), gaps: [], next: `${got.epoch}-1`, isLast: true, epoch: expect.any(String) as string });
    expect(Math.abs((got.events[0]?.at ?? 0) - before)).toBeLessThan(60_000);
    expect(await page(hub, '/rooms/NOBODY/history')).toMatchObject({ events: [], gaps: [], isLast: true });
  });

  it('pages back and forth through a pattern, and nothing is left out or twice', async () => {
    const hub = await startTestHub({ log: true });
    await fill(hub, ...Array.from({ length: 23 }, (_, n) => (n % 4 === 0 ? 'HALL' : `ITB-${n % 3}`)));
    const all = Array.from({ length: 23 }, (_, n) => n + 1).filter((n) => (n - 1) % 4 !== 0);
    for (const direction of ['after', 'before'] as const) {
      const pages: unknown[][] = [];
      let got = await page(hub, direction === 'after' ? '/rooms/ITB-*/history?after=0&limit=5' : '/rooms/ITB-*/history?limit=5');
      for (;;) {
        pages.push(numbers(got));
        if (got.isLast) break;
        got = await page(hub, `/rooms/ITB-*/history?${direction}=${got.next}&limit=5`);
      }
      expect((direction === 'after' ? pages : pages.reverse()).flat()).toEqual(all);
      expect(pages.length).toBe(4);
    }
    expect(numbers(await page(hub, '/rooms/*/history?after=20'))).toEqual([21, 22, 23]);
    expect(numbers(await page(hub, '/rooms/*/history?before=3'))).toEqual([1, 2]);
    expect(numbers(await page(hub, '/rooms/*/history?before=24&limit=1'))).toEqual([23]);
  });

  it('gives bodies as they were sent, and in base64 what is no JSON', async () => {
    const hub = await startTestHub({ log: true });
    const writer = await connectPeer(hub, 'messenger');
    for (const body of ['{"n":12345678901234567890,"f":1.0}\n', 'hello', '', '{"__proto__":1}', '{"a":1', Buffer.from([0x22, 0xff, 0x22])]) writer.send(Buffer.concat([Buffer.from('A\n'), Buffer.from(body as string)]));
    await eventually(async () => (await hub.metric('carillon_hub_events_stored_total')) === 6);
    const { text } = await hub.call('GET', '/rooms/A/history');
    expect(text).toContain('"body":{"n":12345678901234567890,"f":1.0}\n}');
    expect((JSON.parse(text) as Page).events.slice(1).map(({ base64 }) => Buffer.from(base64 ?? 'none', 'base64').toString('latin1'))).toEqual(['hello', '', '{"__proto__":1}', '{"a":1', '"\xff"']);
    expect((JSON.parse(text) as Page).events.every(({ from }) => typeof from === 'string')).toBe(true);
  });

  it('says when a position is of a log that is no more, and begins anew', async () => {
    const hub = await startTestHub({ log: true });
    await fill(hub, 'A', 'A');
    expect(await page(hub, '/rooms/A/history?after=old-17')).toMatchObject({ events: [{ seq: 1 }, { seq: 2 }], gaps: [{ from: 18, to: 18, reason: 'epoch' }] });
    expect(await page(hub, '/rooms/A/history?before=old-1&limit=1')).toMatchObject({ events: [{ seq: 2 }], gaps: [{ reason: 'epoch' }] });
  });

  it.each([
    ['after=3', 'SINCE_INVALID'], ['before=4', 'SINCE_INVALID'], ['after=-1', 'SINCE_INVALID'], ['after=1.5', 'SINCE_INVALID'], ['before=yesterday', 'SINCE_INVALID'], ['after=', 'SINCE_INVALID'], ['after=seq:1', 'SINCE_INVALID'],
    ['after=0&before=2', 'REQUEST_MALFORMED'], ['after=0&after=1', 'REQUEST_MALFORMED'], ['limit=0', 'REQUEST_MALFORMED'], ['limit=1001', 'REQUEST_MALFORMED'], ['limit=ten', 'REQUEST_MALFORMED'], ['limit=-1', 'REQUEST_MALFORMED'], ['limit=', 'REQUEST_MALFORMED'], ['before=%ff', 'REQUEST_MALFORMED'],
  ])('refuses %s', async (query, code) => {
    const hub = await startTestHub({ log: true });
    await fill(hub, 'A', 'A');
    expect(await hub.call('GET', `/rooms/A/history?${query}`)).toMatchObject({ status: 400, code });
  });

  it('refuses what is no pattern, and has nothing where there is no log', async () => {
    const hub = await startTestHub();
    expect(await hub.call('GET', '/rooms/A**B/history')).toMatchObject({ status: 400, code: 'PATTERN_INVALID' });
    expect(await hub.call('GET', '/rooms/A/history')).toMatchObject({ status: 404, code: 'LOG_ABSENT' });
    expect((await hub.call('POST', '/rooms/A/history')).headers.get('allow')).toBe('GET');
  });

  it('shows what the key may receive', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ log: true, feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
    const service = await feed.key('service');
    const reader = await feed.key('messenger', { permissions: { send: [], receive: ['A-*'], deny: { receive: [{ room: 'A-2', event: 'secret' }] } } });
    const other = await feed.key('service', { workspaceId: 'w2' });
    await feed.reached(hub);
    for (const [roomID, key] of [['A-1', 'open'], ['A-2', 'secret'], ['A-2', 'open'], ['B-1', 'open']]) await hub.call('POST', '/events', { body: { 'affected-room': { roomID }, key }, headers: service.bearer });
    const read = async (path: string, headers: Readonly<Record<string, string>>) => {
      const answer = await hub.call('GET', path, { headers });
      return answer.code ?? (JSON.parse(answer.text) as Page).events.map(({ seq }) => seq);
    };
    expect(await read('/rooms/A-*/history', reader.bearer)).toEqual([1, 3]);
    expect(await read('/rooms/*/history', service.bearer)).toEqual([1, 2, 3, 4]);
    expect(await read('/rooms/*/history', reader.bearer)).toBe('RECEIVE_DENIED');
    expect(await read('/rooms/*/history', other.bearer)).toEqual([]);
    expect(await read('/rooms/*/history', {})).toBe('ACCESS_KEY_REQUIRED');
  });
});
