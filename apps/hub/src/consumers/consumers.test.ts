import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createTestFeed } from '../access/access.fixture.ts';
import { bodiesOf, consumeOn, joinConsumer, ROOM, spent, startConsumerHub, type TestMember } from './consumer.fixture.ts';
import { createFailingLog } from '../durable/failing-log.fixture.ts';
import { closeAll, startTestHub } from '../hub.fixture.ts';
import { openSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

describe('a durable consumer', () => {
  it('gives each event to one of its members, as it was published, with its place and the attempt', async () => {
    const { hub, store } = await startConsumerHub();
    await store('before');
    const members = [await joinConsumer(hub, 'billing', { window: 10 }), await joinConsumer(hub, 'billing', { window: 10 })];
    const seqs = await store(...Array.from({ length: 20 }, (_, n) => `${n}`));
    await eventually(() => expect(members.flatMap(bodiesOf)).toHaveLength(20));
    const given = members.map((member) => member.deliveries());
    expect(given.flat().map(({ seq }) => seq).sort((left, right) => left - right)).toEqual(seqs);
    expect(given.map((part) => part.length)).toEqual([10, 10]);
    expect(new Set(given.flat().map(({ attempt }) => attempt))).toEqual(new Set([1]));
    expect(members[0]?.heard.find((each) => each.kind === 'event')).toMatchObject({ room: ROOM, fields: { from: 'writer', re: 'c' } });
    for (const [index, member] of members.entries()) expect(await member.settled({ op: 'ack', seqs: given[index]?.map(({ seq }) => seq) ?? [] })).toEqual({ op: 'settled', request: 'c', seqs: given[index]?.map(({ seq }) => seq) });
    await spent(hub, 'billing');
  });

  it('begins where it is told to when it is made, and nowhere else later', async () => {
    const { hub, store } = await startConsumerHub();
    const [one = 0, two = 0] = await store('1', '2', '3');
    const epoch = (await openSession(hub)).all('welcome')[0]?.epoch ?? '';
    const cases = { seq: { seq: one, epoch }, start: { seq: 999, epoch: 'another' }, last: { last: 1 }, at: { at: 0 } };
    const wanted = { seq: ['2', '3'], start: ['1', '2', '3'], last: ['3'], at: ['1', '2', '3'] };
    for (const [name, since] of Object.entries(cases)) {
      const member = await joinConsumer(hub, name, { since });
      const expected = wanted[name as keyof typeof wanted];
      await member.delivered(expected.length);
      expect(bodiesOf(member)).toEqual(expected);
      await member.settled({ op: 'ack', seqs: member.deliveries().map(({ seq }) => seq) });
      await member.leave();
    }
    const again = await joinConsumer(hub, 'seq', { since: { seq: two } });
    await store('4');
    await again.delivered(1);
    expect(bodiesOf(again)).toEqual(['4']);
  });

  it('never has more out than a window', async () => {
    const { hub, store } = await startConsumerHub();
    const member = await joinConsumer(hub, 'billing', { window: 3 });
    await store('1', '2', '3', '4', '5');
    await member.delivered(3);
    const [first] = member.deliveries();
    // What is answered has been decided before: nothing more was given meanwhile.
    await member.settled({ op: 'ack', seqs: [999] });
    expect(bodiesOf(member)).toEqual(['1', '2', '3']);
    await member.settled({ op: 'ack', seqs: [first?.seq ?? 0] });
    await member.delivered(4);
    await member.settled({ op: 'ack', seqs: [999] });
    expect(bodiesOf(member)).toEqual(['1', '2', '3', '4']);
  });

  it('takes turns between what is new and what comes again, with one place for both', async () => {
    const { hub, store } = await startConsumerHub();
    const texts = Array.from({ length: 15 }, (_, n) => `${n}`);
    const first = await joinConsumer(hub, 'billing');
    await store(...texts);
    await first.delivered(15);
    await first.settled({ op: 'discard', seqs: first.deliveries().map(({ seq }) => seq) });
    await first.leave();
    await store(...texts.map((text) => `new ${text}`));
    expect((await hub.call('POST', '/dead-letters/redrive', { body: { consumer: 'billing' } })).status).toBe(200);
    const member = await joinConsumer(hub, 'billing', { window: 1 });
    for (let count = 1; count <= 30; count += 1) {
      const { seq } = await member.delivered(count);
      expect(member.deliveries()).toHaveLength(count);
      await member.settled({ op: 'ack', seqs: [seq] });
    }
    expect(bodiesOf(member).sort()).toEqual([...texts, ...texts.map((text) => `new ${text}`)].sort());
    // In the first half already there is something of both.
    expect(new Set(bodiesOf(member).slice(0, 15).map((body) => body.startsWith('new')))).toEqual(new Set([true, false]));
    expect(new Set(member.deliveries().map(({ attempt }) => attempt))).toEqual(new Set([1]));
    await spent(hub, 'billing');
  });

  it('gives on at once what a member had that leaves or is gone', async () => {
    const { hub, store } = await startConsumerHub();
    const [leaves, goes] = [await joinConsumer(hub, 'billing', { window: 1 }), await joinConsumer(hub, 'billing', { window: 1 })];
    const [one = 0, two = 0] = await store('1', '2');
    await Promise.all([leaves.delivered(1), goes.delivered(1)]);
    const stays = await joinConsumer(hub, 'billing');
    leaves.say({ op: 'unsubscribe', request: 'c' });
    await stays.delivered(1);
    goes.socket.terminate();
    await stays.delivered(2);
    expect(stays.deliveries().map(({ seq, attempt }) => [seq, attempt]).sort()).toEqual([[one, 2], [two, 2]]);
    await stays.settled({ op: 'ack', seqs: [one, two] });
    await spent(hub, 'billing');
    await eventually(async () => expect(await hub.metric('carillon_hub_consumer_members')).toBe(1));
    // A name of a request is free again, and nothing is settled in it any more.
    leaves.say({ op: 'ack', request: 'c', seqs: [one] });
    expect(await leaves.got('error')).toMatchObject({ code: 'REQUEST_UNKNOWN' });
    await consumeOn(leaves, 'billing');
  });

  it('waits for a log that does not answer', async () => {
    const failing = createFailingLog();
    const hub = await startTestHub({ log: true, wrapLog: failing.wrap });
    const session = await openSession(hub);
    failing.fail('consumer', 2, 'LOG_UNAVAILABLE');
    const member = await consumeOn(session, 'billing');
    await member.store(ROOM, '1');
    await member.delivered(1);
    expect([failing.failed, member.all('error')]).toEqual([2, []]);
  });

  it('is refused with other settings, without rooms, out of range, and where no log is', async () => {
    const { hub } = await startConsumerHub();
    const member = await joinConsumer(hub, 'billing');
    const refused = async (name: string, more: Partial<Parameters<typeof consumeOn>[2]> & object): Promise<string> => {
      const request = `r${member.all('error').length}`;
      member.say({ op: 'consume', request, name, rooms: [ROOM], ...more });
      return (await member.got('error', (frame) => frame.request === request)).code;
    };
    expect(await refused('billing', { maxDeliveries: 6 })).toBe('CONSUMER_EXISTS');
    expect(await refused('billing', { rooms: ['ITB-*'] })).toBe('CONSUMER_EXISTS');
    expect(await refused('other', { rooms: [] })).toBe('CONSUMER_INVALID');
    expect(await refused('other', { ackTimeoutMs: 999 })).toBe('CONSUMER_INVALID');
    expect(await refused('other', { since: { seq: 1_000 } })).toBe('SINCE_INVALID');
    member.say({ op: 'consume', request: 'c', name: 'billing', rooms: [ROOM] });
    expect(await member.got('error', ({ request }) => request === 'c')).toMatchObject({ code: 'REQUEST_IN_USE' });
    expect(await hub.metric('carillon_hub_consumer_members')).toBe(1);
    const logless = await openSession(await startTestHub());
    logless.say({ op: 'consume', request: 'c', name: 'billing', rooms: [ROOM] });
    expect(await logless.got('error')).toMatchObject({ code: 'LOG_ABSENT', request: 'c' });
  });

  it('has a bound for each connection', async () => {
    const { hub } = await startConsumerHub();
    const session = await openSession(hub);
    for (let n = 0; n < 65; n += 1) session.say({ op: 'consume', request: `r${n}`, name: 'billing', rooms: [ROOM] });
    expect(await session.got('error')).toMatchObject({ code: 'CONSUMERS_EXCEEDED', request: 'r64' });
    await eventually(() => expect(session.all('consuming')).toHaveLength(64));
    session.say({ op: 'unsubscribe', request: 'r0' });
    session.say({ op: 'consume', request: 'r64', name: 'billing', rooms: [ROOM] });
    await session.got('consuming', ({ request }) => request === 'r64');
  });

  it('takes no more than its socket does from a member that does not read', async () => {
    const hub = await startTestHub({ log: true, env: { CARILLON_HUB_LANE_MAX_BYTES: '1MiB', CARILLON_HUB_FRAME_MAX_BYTES: '200000' } });
    const slow = await joinConsumer(hub, 'billing', { window: 200 });
    slow.socket.pause();
    const writer = await openSession(hub);
    const large = 'x'.repeat(150_000);
    for (let n = 0; n < 60; n += 1) await writer.store(ROOM, `${n}:${large}`);
    const status = JSON.parse((await hub.call('GET', '/consumers')).text) as { readonly items: readonly { readonly inFlight: number }[] };
    expect(status.items[0]?.inFlight).toBeLessThan(60);
    slow.socket.resume();
    await slow.delivered(60);
    expect(slow.deliveries().map(({ body }) => body.split(':')[0])).toEqual(Array.from({ length: 60 }, (_, n) => `${n}`));
    expect(await slow.settled({ op: 'ack', seqs: slow.deliveries().map(({ seq }) => seq) })).not.toHaveProperty('unknown');
    await spent(hub, 'billing');
  });

  it('is of its workspace: the same name in another is another consumer, and its deliveries nobody else\'s', async () => {
    const feed = createTestFeed();
    const hub = await startTestHub({ log: true, feedBus: feed.connect(), env: { CARILLON_HUB_ACCESS: 'keys' } });
    const keys = [await feed.key('messenger', { workspaceId: 'one' }), await feed.key('messenger', { workspaceId: 'two' })];
    await feed.reached(hub);
    const members: TestMember[] = [];
    for (const { key } of keys) members.push(await joinConsumer({ url: `${hub.url}/k/${key}` }, 'billing', { maxDeliveries: members.length + 1 }));
    const [one, two] = members as [TestMember, TestMember];
    const seq = await one.store(ROOM, 'of one');
    await one.delivered(1);
    expect(await two.settled({ op: 'ack', seqs: [seq] })).toMatchObject({ unknown: [seq] });
    await two.store(ROOM, 'of two');
    await two.delivered(1);
    await one.settled({ op: 'defer', seqs: [seq] });
    const { seq: again } = await one.delivered(2);
    expect([bodiesOf(one), bodiesOf(two)]).toEqual([['of one', 'of one'], ['of two']]);
    expect(await one.settled({ op: 'ack', seqs: [again] })).toMatchObject({ seqs: [again] });
  });
});
