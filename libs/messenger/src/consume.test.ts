import { describe, expect, it } from 'vitest';
import type { Delivery } from './consumer.ts';
import { answered, fates, owe, take, UNKNOWN } from './deliveries.test.fixture.ts';
import { turn } from './fakes.test.fixture.ts';
import { joinedRig, type ModelRig } from './model-rig.test.fixture.ts';

const texts = (deliveries: readonly Delivery[]): string[] => deliveries.map(({ event }) => event.text());
const overs = ({ hub }: ModelRig): unknown[] => hub.consumers.owed('jobs').map(({ over }) => over);

describe('a consumer', () => {
  it('asks for what its options say, and is ready when the hub has it', async () => {
    const rig = await joinedRig();
    const settings = { since: { seq: 4, epoch: 'e' }, ackTimeoutMs: 2_000, maxDeliveries: 3, maxInFlight: 10, window: 2 } as const;
    const consumer = rig.messenger.consume('jobs', ['A', 'B-*', 'A'], { ...settings, signal: new AbortController().signal });
    const plain = rig.messenger.consume('plain', 'A');
    await rig.settle();
    expect(rig.said('consume')).toEqual([
      { op: 'consume', request: '__1', name: 'jobs', rooms: ['A', 'B-*'], ...settings },
      { op: 'consume', request: '__2', name: 'plain', rooms: ['A'], window: 64 },
    ]);
    await Promise.all([consumer.ready(), plain.ready()]);
    expect([consumer.name, consumer.rooms, consumer.closed]).toEqual(['jobs', ['A', 'B-*'], false]);
  });

  it('reads deliveries with their attempts, in the order they come, each for one member', async () => {
    const rig = await joinedRig();
    const [one, other] = [rig.messenger.consume('jobs', 'A'), rig.messenger.consume('jobs', 'A')];
    await rig.settle();
    owe(rig, 4);
    const mine = await take(rig, one, 2);
    const others = await take(rig, other, 2);
    expect([texts(mine), texts(others)]).toEqual([['1', '3'], ['2', '4']]);
    expect(mine.map(({ attempt, event }) => [attempt, event.seq, event.id])).toEqual([[1, 1, 'id-1'], [1, 3, 'id-3']]);
  });

  it('gets an event as JSON, and tells subscriptions nothing of it', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume<{ n: number }>('jobs', 'A');
    let heard = 0;
    rig.messenger.subscribe('B', () => (heard += 1));
    await rig.settle();
    rig.hub.publish('A', { id: 'one', from: 'somebody', body: '{"n":7}' });
    const [delivery] = await take(rig, consumer, 1);
    expect([(delivery?.event.json() as { n: number }).n, heard]).toEqual([7, 0]);
  });

  it('D2 D3: resolves each way to settle when the hub has kept it', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A');
    await rig.settle();
    owe(rig, 4);
    const [one, two, three, four] = await take(rig, consumer, 4) as [Delivery, Delivery, Delivery, Delivery];
    const known = fates([one.ack(), two.nack({ delayMs: 5, reason: 'busy' }), three.defer({ delayMs: 7 }), four.discard('x'.repeat(2_000))]);
    await rig.settle();
    expect(known).toEqual(['waits', 'waits', 'waits', 'waits']);
    expect([rig.said('ack'), rig.said('nack'), rig.said('defer'), rig.said('discard')]).toEqual([
      [{ op: 'ack', request: '__1', seqs: [1] }],
      [{ op: 'nack', request: '__1', seqs: [2], delayMs: 5, reason: 'busy' }],
      [{ op: 'defer', request: '__1', seqs: [3], delayMs: 7 }],
      [{ op: 'discard', request: '__1', seqs: [4], reason: 'x'.repeat(1_024) }],
    ]);
    await answered(rig);
    expect(known).toEqual(['kept', 'kept', 'kept', 'kept']);
    expect(overs(rig)).toEqual(['acked', undefined, undefined, 'dead']);
    const again = await take(rig, consumer, 2);
    expect(again.map(({ event, attempt }) => [event.text(), attempt])).toEqual([['2', 2], ['3', 1]]);
  });

  it('D4: says together what is settled in one turn', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A', { window: 4_096 });
    await rig.settle();
    owe(rig, 2_100);
    const all = await take(rig, consumer, 2_100);
    const settled = Promise.all(all.map((delivery, index) => (index % 500 === 0 ? delivery.nack() : delivery.ack())));
    await answered(rig);
    await settled;
    expect(rig.said('ack').map(({ seqs }) => seqs.length)).toEqual([2_048, 2_095 - 2_048]);
    expect(rig.said('nack').map(({ seqs }) => seqs)).toEqual([[1, 501, 1_001, 1_501, 2_001]]);
  });

  it('D2: settles a delivery once; a call with a delay that is none settles nothing', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A');
    await rig.settle();
    owe(rig, 1);
    const [delivery] = await take(rig, consumer, 1) as [Delivery];
    await expect(delivery.nack({ delayMs: 0.5 })).rejects.toThrow(RangeError);
    await expect(delivery.defer({ delayMs: -1 })).rejects.toThrow(RangeError);
    const known = fates([delivery.ack(), delivery.ack(), delivery.nack()]);
    await turn();
    expect(known).toEqual(['waits', expect.objectContaining(UNKNOWN), expect.objectContaining(UNKNOWN)]);
    await answered(rig);
    expect(known[0]).toBe('kept');
    await expect(delivery.discard()).rejects.toMatchObject(UNKNOWN);
    expect(rig.said('ack')).toHaveLength(1);
  });

  it('D3: rejects what the hub does not know any more', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A');
    await rig.settle();
    owe(rig, 2);
    const [one, two] = await take(rig, consumer, 2) as [Delivery, Delivery];
    rig.hub.consumers.timeOut(1);
    const known = fates([one.ack(), two.ack()]);
    await answered(rig);
    expect(known).toEqual([expect.objectContaining(UNKNOWN), 'kept']);
  });

  it('D3: answers the older of two settlements of one sequence first', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A');
    await rig.settle();
    owe(rig, 1);
    const [first] = await take(rig, consumer, 1) as [Delivery];
    const older = fates([first.nack()]);
    await rig.settle();
    const [second] = await take(rig, consumer, 1) as [Delivery];
    const newer = fates([second.ack()]);
    await rig.settle();
    rig.peer.answer(1);
    await rig.settle();
    expect([older, newer]).toEqual([['kept'], ['waits']]);
    rig.peer.answer(1);
    await rig.settle();
    expect([newer, overs(rig)]).toEqual([['kept'], ['acked']]);
  });

  it('D2: leaves the settling to the last try of an event', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A');
    await rig.settle();
    owe(rig, 1);
    const [late] = await take(rig, consumer, 1) as [Delivery];
    rig.hub.consumers.timeOut();
    const [again] = await take(rig, consumer, 1) as [Delivery];
    await expect(late.ack()).rejects.toMatchObject(UNKNOWN);
    const known = fates([again.ack()]);
    await answered(rig);
    expect([again.attempt, known, overs(rig)]).toEqual([2, ['kept'], ['acked']]);
  });

  it('D5: holds no more than its window, read or not; what is older has timed out', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A', { window: 2 });
    await rig.settle();
    owe(rig, 2);
    const [one] = await take(rig, consumer, 1) as [Delivery];
    for (const seq of [3, 4]) rig.peer.give({ room: 'A', id: `id-${seq}`, seq, from: 'somebody', body: `${seq}` }, '__1', 1);
    await rig.settle();
    await expect(one.ack()).rejects.toMatchObject(UNKNOWN);
    expect(texts(await take(rig, consumer, 2))).toEqual(['3', '4']);
  });

  it('D5: counts another try of an event as the newer', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A', { window: 2 });
    await rig.settle();
    for (const [seq, attempt] of [[1, 1], [2, 1], [1, 2], [3, 1]] as const) rig.peer.give({ room: 'A', id: `id-${seq}`, seq, from: 'somebody', body: `${seq}` }, '__1', attempt);
    await rig.settle();
    expect((await take(rig, consumer, 2)).map(({ event, attempt }) => [event.seq, attempt])).toEqual([[1, 2], [3, 1]]);
  });

  it.each(['LOG_UNAVAILABLE', 'DELAY_INVALID'])('D6: may settle again what the hub could not keep (%s), and is a member all the same', async (code) => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A');
    await rig.settle();
    owe(rig, 2);
    const [one, two] = await take(rig, consumer, 2) as [Delivery, Delivery];
    const refused = fates([one.ack(), two.defer({ delayMs: 1 })]);
    await turn();
    rig.peer.say({ op: 'settled', request: '__1', seqs: [1] });
    rig.peer.say({ op: 'error', code, request: '__1' });
    rig.down();
    await turn();
    expect(refused).toEqual(['kept', expect.objectContaining({ code })]);
    const again = fates([one.ack(), two.defer()]);
    await rig.settle();
    expect([again[0], rig.said('defer').at(-1)]).toEqual([expect.objectContaining(UNKNOWN), { op: 'defer', request: '__1', seqs: [2] }]);
    expect([consumer.closed, rig.said('consume').length]).toEqual([false, 1]);
  });

  it.each(['INTERNAL', 'REQUEST_UNKNOWN'])('D6 S2: joins again when its membership is over by %s, whatever it says at the time', async (code) => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A');
    await rig.settle();
    owe(rig, 1);
    const [one] = await take(rig, consumer, 1) as [Delivery];
    const known = fates([one.ack()]);
    await turn();
    rig.peer.say({ op: 'error', code, request: '__1' });
    rig.down();
    await turn();
    expect(known).toEqual([expect.objectContaining(UNKNOWN)]);
    rig.clock.advance(999);
    await rig.settle();
    expect([consumer.closed, rig.said('consume').map(({ request }) => request)]).toEqual([false, ['__1', '__2']]);
  });
});
