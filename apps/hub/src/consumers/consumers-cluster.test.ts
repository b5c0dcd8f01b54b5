import { eventually, startNatsServer, stopAll, trackResources, type NatsServer } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { startClusterHub } from '../cluster/cluster-hub.fixture.ts';
import { joinConsumer, type TestMember } from './consumer.fixture.ts';
import { closeAll, type TestHub } from '../hub.fixture.ts';
import { openSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(async () => {
  await closeAll();
  await stopAll();
});
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';

const startTwo = async (): Promise<{ readonly nats: NatsServer; readonly a: TestHub; readonly b: TestHub }> => {
  const nats = await startNatsServer({ jetstream: true });
  return { nats, a: await startClusterHub(nats), b: await startClusterHub(nats) };
};
const ackAll = async (member: TestMember): Promise<void> => void (await member.settled({ op: 'ack', seqs: member.deliveries().map(({ seq }) => seq) }));
const letters = async (hub: TestHub, query = ''): Promise<readonly { readonly id: string; readonly state: string; readonly reason: string }[]> => (JSON.parse((await hub.call('GET', `/dead-letters${query}`)).text) as { readonly items: [] }).items;

describe('a durable consumer of a cluster', () => {
  it('is shared by members at several hubs, each event given to one of them', async () => {
    const { a, b } = await startTwo();
    const members = [await joinConsumer(a, 'billing', { window: 10 }), await joinConsumer(b, 'billing', { window: 10 })];
    const writer = await openSession(a);
    const seqs = await Promise.all(Array.from({ length: 20 }, (_, n) => writer.store(ROOM, `${n}`)));
    await eventually(() => expect(members.flatMap((member) => member.deliveries()).map(({ seq }) => seq).sort((left, right) => left - right)).toEqual(seqs));
    expect(members.map((member) => member.deliveries().length)).toEqual([10, 10]);
    await Promise.all(members.map(ackAll));
    await eventually(async () => {
      const { items } = JSON.parse((await b.call('GET', '/consumers')).text) as { readonly items: readonly object[] };
      expect(items).toMatchObject([{ name: 'billing', pending: 0, inFlight: 0, members: 1 }]);
    });
  });

  it('goes on at one hub when another is gone', async () => {
    const { a, b } = await startTwo();
    const lost = await joinConsumer(a, 'billing');
    const writer = await openSession(b);
    const seqs = [await writer.store(ROOM, '1'), await writer.store(ROOM, '2'), await writer.store(ROOM, '3')];
    await lost.delivered(3);
    await lost.settled({ op: 'ack', seqs: seqs.slice(0, 1) });
    await lost.settled({ op: 'defer', seqs: seqs.slice(1, 2) });
    await lost.delivered(4);
    await a.stop();
    const heir = await joinConsumer(b, 'billing');
    await heir.delivered(2);
    expect(heir.deliveries().map(({ body, attempt }) => [body, attempt]).sort()).toEqual([['2', 2], ['3', 2]]);
    await ackAll(heir);
  });

  it('has dead letters that every hub shows, and redrives to its members wherever they are', async () => {
    const { a, b } = await startTwo();
    const member = await joinConsumer(a, 'billing', { maxDeliveries: 1, ackTimeoutMs: 1_000 });
    const writer = await openSession(b);
    const [one, two] = [await writer.store(ROOM, '1'), await writer.store(ROOM, '2')];
    await member.delivered(2);
    await member.settled({ op: 'nack', seqs: [one], reason: 'no' });
    // The other is not settled in time.
    await eventually(async () => expect(await letters(b)).toHaveLength(2));
    expect((await letters(b))[0]).toMatchObject({ reason: 'no', event: { seq: one } });
    const done = await Promise.all([a, b].map((hub) => hub.call('POST', '/dead-letters/redrive', { body: { consumer: 'billing' } })));
    expect(done.map(({ status }) => status)).toEqual([200, 200]);
    await member.delivered(4);
    expect(member.deliveries().slice(2).map(({ body, attempt }) => [body, attempt]).sort()).toEqual([['1', 1], ['2', 1]]);
    expect(await member.settled({ op: 'ack', seqs: member.deliveries().slice(2).map(({ seq }) => seq) })).not.toHaveProperty('unknown');
    for (const hub of [a, b]) expect((await letters(hub, '?state=all')).map(({ state }) => state)).toEqual(['redriven', 'redriven']);
    expect(two).toBeGreaterThan(one);
  });

  it('ends at every hub when it is deleted at one', async () => {
    const { a, b } = await startTwo();
    const member = await joinConsumer(a, 'billing');
    await joinConsumer(b, 'other');
    expect((await b.call('DELETE', '/consumers/billing')).status).toBe(204);
    expect(await member.got('error')).toMatchObject({ code: 'CONSUMER_UNKNOWN', request: 'c' });
  });

  it('keeps its members while the log is away, and answers what was settled when that is kept', async () => {
    const { nats, a } = await startTwo();
    const member = await joinConsumer(a, 'billing', { ackTimeoutMs: 60_000 });
    const writer = await openSession(a);
    const seq = await writer.store(ROOM, '1');
    await member.delivered(1);
    nats.pause();
    member.say({ op: 'ack', request: 'c', seqs: [seq] });
    expect(await member.got('error')).toMatchObject({ code: 'LOG_UNAVAILABLE', request: 'c' });
    expect(member.all('settled')).toEqual([]);
    nats.resume();
    await eventually(async () => expect((await a.readiness()).status).toBe(200));
    // Settled, or the first try has arrived after all and the log knows nothing of the delivery any more.
    await eventually(async () => {
      const answers = (): number => member.all('settled').length + member.all('error').length;
      const before = answers();
      member.say({ op: 'ack', request: 'c', seqs: [seq] });
      await eventually(() => answers() > before, { what: 'an answer' });
      expect(member.all('settled').flatMap(({ seqs, unknown = [] }) => [...seqs, ...unknown])).toEqual([seq]);
    });
    await writer.store(ROOM, '2');
    await member.delivered(2);
    expect(member.deliveries().map(({ body }) => body)).toEqual(['1', '2']);
  });
});
