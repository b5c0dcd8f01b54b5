import type { WorkspaceEntry } from '@carillon/schemas';
import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed, type TestKey } from '../access/access.fixture.ts';
import { joinConsumer, type TestMember } from './consumer.fixture.ts';
import { closeAll, startTestHub, type Answer, type TestHub } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';

interface Letter {
  readonly id: string;
  readonly consumer: string;
  readonly room: string;
  readonly state: string;
  readonly reason: string;
  readonly attempts: number;
  readonly diedAt: number;
  readonly event: { readonly id: string; readonly seq: number; readonly at: number; readonly body?: unknown; readonly text?: string; readonly base64?: string };
}

interface Page {
  readonly items: readonly Letter[];
  readonly next: string | null;
}

const read = <T>({ text }: Answer): T => JSON.parse(text) as T;
const list = async (hub: TestHub, query = ''): Promise<readonly Letter[]> => read<Page>(await hub.call('GET', `/dead-letters${query}`)).items;
const post = (hub: TestHub, path: string, body?: unknown): Promise<Answer> => hub.call('POST', path, body === undefined ? {} : { body });

/** Stores an event and has the member discard it; gives the id of its letter. */
async function kill(hub: TestHub, member: TestMember, body: string, reason = 'of no use'): Promise<string> {
  const known = new Set((await list(hub)).map(({ id }) => id));
  const count = member.deliveries().length;
  await member.store(ROOM, body);
  const { seq } = await member.delivered(count + 1);
  await member.settled({ op: 'discard', seqs: [seq], reason });
  const letter = (await list(hub)).find(({ id }) => !known.has(id));
  return letter?.id ?? '';
}

describe('an event that a consumer gave up', () => {
  it('is a dead letter after its last attempt, redriven, and acked', async () => {
    const hub = await startTestHub({ log: true });
    const member = await joinConsumer(hub, 'billing', { maxDeliveries: 2 });
    const seq = await member.store(ROOM, '{"n":1}', { id: 'e1' });
    for (let attempt = 1; attempt <= 2; attempt += 1) {
      await member.delivered(attempt);
      expect(await list(hub)).toEqual([]);
      await member.settled({ op: 'nack', seqs: [seq], reason: `failed ${attempt}` });
    }
    // It was answered when that was kept.
    const [letter] = await list(hub);
    expect(letter).toMatchObject({ consumer: 'billing', room: ROOM, state: 'dead', reason: 'failed 2', attempts: 2, event: { id: 'e1', seq, body: { n: 1 } } });
    expect(Math.abs((letter?.diedAt ?? 0) - Date.now())).toBeLessThan(60_000);
    const path = `/dead-letters/${letter?.id ?? ''}`;
    expect(read<Letter>(await hub.call('GET', path))).toEqual(letter);

    expect(read(await post(hub, `${path}/redrive`))).toEqual({ id: letter?.id, state: 'redriven' });
    const again = await member.delivered(3);
    expect(again).toMatchObject({ id: 'e1', room: ROOM, body: '{"n":1}', attempt: 1 });
    // Asked for twice it is done once.
    expect((await post(hub, `${path}/redrive`)).status).toBe(200);
    expect(await member.settled({ op: 'ack', seqs: [again.seq] })).toMatchObject({ seqs: [again.seq] });
    expect(await list(hub)).toEqual([]);
    expect((await list(hub, '?state=all')).map(({ state }) => state)).toEqual(['redriven']);
    expect(member.deliveries()).toHaveLength(3);
    expect(await hub.metric('carillon_hub_consumer_deliveries_total', 'redriven')).toBe(1);
  });

  it('is another letter when it dies again, and goes to nobody but its consumer', async () => {
    const hub = await startTestHub({ log: true });
    const [member, other] = [await joinConsumer(hub, 'billing', { maxDeliveries: 1 }), await joinConsumer(hub, 'audit')];
    const reader = await joinConsumer(hub, 'all', { rooms: ['*'] });
    const id = await kill(hub, member, '1');
    await Promise.all([other.delivered(1), reader.delivered(1)]);
    await post(hub, `/dead-letters/${id}/redrive`);
    const { seq } = await member.delivered(2);
    await member.settled({ op: 'nack', seqs: [seq], reason: 'still' });
    const letters = await list(hub, '?state=all');
    expect(letters.map(({ state, reason, attempts }) => [state, reason, attempts])).toEqual([['redriven', 'of no use', 1], ['dead', 'still', 1]]);
    expect(letters[1]?.event.seq).toBe(letters[0]?.event.seq);
    // Letters and copies are no events of a room.
    expect([other.deliveries().length, reader.deliveries().length]).toEqual([1, 1]);
  });

  it('is a letter also when its member leaves on the last attempt', async () => {
    const hub = await startTestHub({ log: true });
    const member = await joinConsumer(hub, 'billing', { maxDeliveries: 1, ackTimeoutMs: 1_000 });
    await member.store(ROOM, '1');
    await member.delivered(1);
    await member.leave();
    // Who joins next finds it dead.
    const next = await joinConsumer(hub, 'billing', { maxDeliveries: 1, ackTimeoutMs: 1_000 });
    await eventually(async () => expect(await list(hub)).toHaveLength(1));
    await next.leave();
    expect(await list(hub, '?state=all')).toHaveLength(1);
  });

  it('is listed by consumer, page by page, and by what became of it', async () => {
    const hub = await startTestHub({ log: true });
    const [billing, audit] = [await joinConsumer(hub, 'billing'), await joinConsumer(hub, 'audit-2')];
    const ids = [await kill(hub, billing, '1'), await kill(hub, billing, '2'), await kill(hub, billing, '3')];
    for (const { seq } of await Promise.all([audit.delivered(1)])) await audit.settled({ op: 'discard', seqs: [seq] });
    expect((await list(hub, '?consumer=billing')).map(({ id }) => id)).toEqual(ids);
    expect((await list(hub, '?consumer=audit-2')).map(({ event }) => event.body)).toEqual([1]);
    expect(await list(hub)).toHaveLength(4);

    const first = read<Page>(await hub.call('GET', '/dead-letters?consumer=billing&limit=2'));
    expect(first.items.map(({ id }) => id)).toEqual(ids.slice(0, 2));
    const second = read<Page>(await hub.call('GET', `/dead-letters?consumer=billing&limit=2&after=${first.next ?? ''}`));
    expect([second.items.map(({ id }) => id), second.next]).toEqual([ids.slice(2), null]);

    expect((await hub.call('DELETE', `/dead-letters/${ids[0] ?? ''}`)).status).toBe(204);
    expect((await hub.call('DELETE', `/dead-letters/${ids[0] ?? ''}`)).status).toBe(204);
    expect((await list(hub, '?consumer=billing')).map(({ id }) => id)).toEqual(ids.slice(1));
    expect((await list(hub, '?consumer=billing&state=deleted')).map(({ id }) => id)).toEqual(ids.slice(0, 1));
    expect(await post(hub, `/dead-letters/${ids[0] ?? ''}/redrive`)).toMatchObject({ status: 404, code: 'DEAD_LETTER_UNKNOWN' });
  });

  it('may be redriven with all others of its consumer', async () => {
    const hub = await startTestHub({ log: true });
    const member = await joinConsumer(hub, 'billing');
    for (let n = 0; n < 5; n += 1) await kill(hub, member, `${n}`);
    await hub.call('DELETE', `/dead-letters/${(await list(hub))[0]?.id ?? ''}`);
    expect(read(await post(hub, '/dead-letters/redrive', { consumer: 'billing' }))).toEqual({ redriven: 4, next: null });
    await member.delivered(9);
    expect(member.deliveries().slice(5).map(({ body }) => body).sort()).toEqual(['1', '2', '3', '4']);
    expect(read(await post(hub, '/dead-letters/redrive', { consumer: 'billing' }))).toEqual({ redriven: 0, next: null });
    expect(await post(hub, '/dead-letters/redrive', { consumer: 'nobody' })).toMatchObject({ status: 404, code: 'CONSUMER_UNKNOWN' });
  });

  it('shows a body that is no JSON as text, and one that is no text as base64', async () => {
    const hub = await startTestHub({ log: true });
    const member = await joinConsumer(hub, 'billing');
    await kill(hub, member, 'no JSON');
    member.publishRaw(Buffer.concat([Buffer.from(`${ROOM}\tid=bytes\n`), Buffer.from([0xff, 0xfe])]));
    const { seq } = await member.delivered(2);
    await member.settled({ op: 'discard', seqs: [seq] });
    const letters = await list(hub);
    expect(letters.map(({ event: { text, base64 } }) => [text, base64])).toEqual([['no JSON', undefined], [undefined, '//4=']]);
  });

  it('is not to be had by bad queries', async () => {
    const hub = await startTestHub({ log: true });
    for (const query of ['consumer=a.b', 'consumer=', 'limit=0', 'limit=1001', 'limit=x', 'state=alive', 'limit=1&limit=2']) expect([query, (await hub.call('GET', `/dead-letters?${query}`)).code]).toEqual([query, 'REQUEST_MALFORMED']);
    expect(await hub.call('GET', '/dead-letters?after=x')).toMatchObject({ status: 400, code: 'SINCE_INVALID' });
    for (const [body, code] of [['', 'JSON_INVALID'], ['null', 'REQUEST_MALFORMED'], ['{}', 'REQUEST_MALFORMED'], ['{"consumer":"a b"}', 'REQUEST_MALFORMED'], ['{"consumer":"a","after":5}', 'SINCE_INVALID']]) expect([body, (await post(hub, '/dead-letters/redrive', body)).code]).toEqual([body, code]);
    for (const id of ['01JD6Q3V7E8ZK4M2N5P6R7S8T9', 'a%2Fb', 'a'.repeat(500)]) {
      expect([id, (await hub.call('GET', `/dead-letters/${id}`)).code]).toEqual([id, 'DEAD_LETTER_UNKNOWN']);
      expect([id, (await hub.call('DELETE', `/dead-letters/${id}`)).code]).toEqual([id, 'DEAD_LETTER_UNKNOWN']);
      expect([id, (await post(hub, `/dead-letters/${id}/redrive`)).code]).toEqual([id, 'DEAD_LETTER_UNKNOWN']);
    }
    const logless = await startTestHub();
    for (const path of ['/dead-letters', '/dead-letters/x', '/consumers']) expect((await logless.call('GET', path)).code).toBe('LOG_ABSENT');
  });

  it('is there for whoever may receive it, and to be redriven by whoever may send it', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ log: true, feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
    const all = await feed.key('messenger');
    const reader = await feed.key('service', { permissions: { send: [], receive: ['ITB-*'] } });
    const elsewhere = await feed.key('service', { permissions: { send: ['*'], receive: ['JKB-*'] } });
    const foreign = await feed.key('service', { workspaceId: 'other' });
    await feed.reached(hub);
    const member = await joinConsumer({ url: `${hub.url}/k/${all.key}` }, 'billing');
    const seq = await member.store(ROOM, '1');
    await member.delivered(1);
    await member.settled({ op: 'discard', seqs: [seq] });
    const as = (key: TestKey) => async (method: string, path: string, body?: unknown): Promise<Answer> => hub.call(method, path, { headers: key.bearer, ...(body === undefined ? {} : { body }) });
    const [letter] = read<Page>(await as(all)('GET', '/dead-letters')).items;
    const path = `/dead-letters/${letter?.id ?? ''}`;

    expect(read<Page>(await as(reader)('GET', '/dead-letters')).items.map(({ id }) => id)).toEqual([letter?.id]);
    expect((await as(reader)('GET', path)).status).toBe(200);
    for (const [method, address] of [['POST', `${path}/redrive`], ['DELETE', path]] as const) expect((await as(reader)(method, address)).code).toBe('DEAD_LETTER_UNKNOWN');
    expect(read(await as(reader)('POST', '/dead-letters/redrive', { consumer: 'billing' }))).toEqual({ redriven: 0, next: null });
    for (const key of [elsewhere, foreign]) {
      expect(read<Page>(await as(key)('GET', '/dead-letters?state=all')).items).toEqual([]);
      for (const [method, address] of [['GET', path], ['POST', `${path}/redrive`], ['DELETE', path]] as const) expect((await as(key)(method, address)).code).toBe('DEAD_LETTER_UNKNOWN');
    }
    expect((await as(foreign)('POST', '/dead-letters/redrive', { consumer: 'billing' })).code).toBe('CONSUMER_UNKNOWN');
    expect((await as(all)('POST', `${path}/redrive`)).status).toBe(200);
    await member.delivered(2);
  });
});

describe('a workspace that is deleted', () => {
  it('leaves no dead letters and no consumers to one of the same name', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ log: true, feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
    const key = await feed.key('messenger', { workspaceId: 'gone' });
    await feed.reached(hub);
    const member = await joinConsumer({ url: `${hub.url}/k/${key.key}` }, 'billing');
    const seq = await member.store(ROOM, '1');
    await member.delivered(1);
    await member.settled({ op: 'discard', seqs: [seq] });
    const entry: WorkspaceEntry = { type: 'workspace', id: 'gone', workspaceId: 'gone', path: 'gone', anonymousKeyId: null, allowedOrigins: [], validation: 'off', limits: {} };
    await feed.remove(entry);
    await eventually(() => expect(hub.logs.some((line) => line.includes('the events of a deleted workspace are gone'))).toBe(true));
    await feed.put(entry);
    const again = await feed.key('messenger', { workspaceId: 'gone' });
    await feed.reached(hub);
    expect(read<Page>(await hub.call('GET', '/dead-letters?state=all', { headers: again.bearer })).items).toEqual([]);
    expect(read<Page>(await hub.call('GET', '/consumers', { headers: again.bearer })).items).toEqual([]);
    // With other settings it is another consumer, so nothing is left of the one before.
    await joinConsumer({ url: `${hub.url}/k/${again.key}` }, 'billing', { maxDeliveries: 7 });
  });
});

describe('the trail of an event', () => {
  it('tells of each attempt of a consumer, and what came of it', async () => {
    const hub = await startTestHub({ log: true, env: { CARILLON_HUB_TRAIL: 'on' } });
    const member = await joinConsumer(hub, 'billing', { maxDeliveries: 2 });
    const seq = await member.store(ROOM, '1', { id: 'e1' });
    await member.delivered(1);
    await member.settled({ op: 'nack', seqs: [seq], reason: 'busy' });
    await member.delivered(2);
    await member.settled({ op: 'defer', seqs: [seq] });
    const { seq: copy } = await member.delivered(3);
    await member.settled({ op: 'nack', seqs: [copy], reason: 'no' });
    const [letter] = await list(hub);
    await post(hub, `/dead-letters/${letter?.id ?? ''}/redrive`);
    const { seq: again } = await member.delivered(4);
    await member.settled({ op: 'ack', seqs: [again] });
    await eventually(async () => {
      const { attempts } = read<{ readonly attempts: readonly { readonly consumer: string; readonly attempt: number; readonly outcome: string; readonly reason?: string }[] }>(await hub.call('GET', '/events/e1/trail'));
      // A redriven event may be delivered before it is noted that it was.
      expect(attempts.map(({ consumer, attempt, outcome, reason = '' }) => `${consumer} ${attempt} ${outcome} ${reason}`.trim()).sort()).toEqual([
        'billing 1 acked', 'billing 1 delivered', 'billing 1 delivered', 'billing 1 nacked busy',
        'billing 2 dead no', 'billing 2 deferred', 'billing 2 delivered', 'billing 2 delivered', 'billing 2 nacked no', 'billing 2 redriven',
      ]);
    });
  });
});
