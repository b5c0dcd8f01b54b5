import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed } from '../access/access.fixture.ts';
import { joinConsumer } from './consumer.fixture.ts';
import { closeAll, startTestHub, type TestHub } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';

interface Listing {
  readonly items: readonly { readonly name: string; readonly rooms: readonly string[]; readonly members: number; readonly pending: number; readonly inFlight: number; readonly settledSeq: number }[];
  readonly next: string | null;
}

const list = async (hub: TestHub, query = '', headers: Record<string, string> = {}): Promise<Listing> => JSON.parse((await hub.call('GET', `/consumers${query}`, { headers })).text) as Listing;
const names = ({ items }: Listing): string[] => items.map(({ name }) => name);

describe('the consumers of a workspace', () => {
  it('are shown with what is owed to them', async () => {
    const hub = await startTestHub({ log: true });
    const member = await joinConsumer(hub, 'billing', { window: 2, maxDeliveries: 3 });
    const seqs = [await member.store(ROOM, '1'), await member.store(ROOM, '2'), await member.store(ROOM, '3')];
    await member.delivered(2);
    await eventually(async () => expect((await list(hub)).items).toEqual([{ name: 'billing', rooms: [ROOM], ackTimeoutMs: 30_000, maxDeliveries: 3, maxInFlight: 1_000, pending: 1, inFlight: 2, settledSeq: (seqs[0] ?? 1) - 1, members: 1 }]));
    await member.settled({ op: 'ack', seqs: seqs.slice(0, 2) });
    // What it has put off is still owed to it.
    await member.delivered(3);
    await member.settled({ op: 'defer', seqs: seqs.slice(2), delayMs: 0 });
    await member.delivered(4);
    expect((await list(hub)).items[0]).toMatchObject({ pending: 0, inFlight: 1, members: 1 });
    await member.leave();
    await eventually(async () => expect((await list(hub)).items[0]).toMatchObject({ pending: 1, inFlight: 0, members: 0 }));
  });

  it('are listed page by page', async () => {
    const hub = await startTestHub({ log: true });
    for (const name of ['c', 'a', 'b']) await joinConsumer(hub, name);
    const first = await list(hub, '?limit=2');
    expect([names(first), first.next]).toEqual([['a', 'b'], 'b']);
    const second = await list(hub, '?limit=2&after=b');
    expect([names(second), second.next]).toEqual([['c'], null]);
    for (const limit of ['0', '1001', 'x']) expect((await hub.call('GET', `/consumers?limit=${limit}`)).code).toBe('REQUEST_MALFORMED');
  });

  it('end for their members when they are deleted, and begin anew', async () => {
    const hub = await startTestHub({ log: true });
    const member = await joinConsumer(hub, 'billing');
    const seq = await member.store(ROOM, '1');
    await member.delivered(1);
    expect((await hub.call('DELETE', '/consumers/billing')).status).toBe(204);
    expect(await member.got('error')).toMatchObject({ code: 'CONSUMER_UNKNOWN', request: 'c' });
    expect(await hub.call('DELETE', '/consumers/billing')).toMatchObject({ status: 404, code: 'CONSUMER_UNKNOWN' });
    expect(names(await list(hub))).toEqual([]);
    await eventually(async () => expect(await hub.metric('carillon_hub_consumer_members')).toBe(0));
    const again = await joinConsumer(hub, 'billing', { maxDeliveries: 1, since: { seq: seq - 1 } });
    expect(await again.delivered(1)).toMatchObject({ seq, attempt: 1 });
  });

  it('are there for keys that cover all of their rooms', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ log: true, feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
    const all = await feed.key('messenger');
    const some = await feed.key('service', { permissions: { receive: ['ITB-1101'] } });
    const foreign = await feed.key('service', { workspaceId: 'other' });
    await feed.reached(hub);
    const url = `${hub.url}/k/${all.key}`;
    await joinConsumer({ url }, 'one');
    await joinConsumer({ url }, 'both', { rooms: [ROOM, 'ITB-1102'] });
    expect(names(await list(hub, '', all.bearer))).toEqual(['both', 'one']);
    expect(names(await list(hub, '', some.bearer))).toEqual(['one']);
    expect(names(await list(hub, '', foreign.bearer))).toEqual([]);
    for (const [key, name] of [[some, 'both'], [foreign, 'one']] as const) expect((await hub.call('DELETE', `/consumers/${name}`, { headers: key.bearer })).code).toBe('CONSUMER_UNKNOWN');
    expect((await hub.call('DELETE', '/consumers/one', { headers: some.bearer })).status).toBe(204);
    expect(names(await list(hub, '', all.bearer))).toEqual(['both']);
  });
});
