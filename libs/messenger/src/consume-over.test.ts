import { describe, expect, it } from 'vitest';
import type { Consumer, Delivery } from './consumer.ts';
import { answered, fates, owe, take, UNKNOWN } from './deliveries.test.fixture.ts';
import { turn } from './fakes.test.fixture.ts';
import { joinedRig, ModelRig } from './model-rig.test.fixture.ts';

/** What an iterable ends with. */
async function rejection(consumer: Consumer): Promise<unknown> {
  try {
    for await (const delivery of consumer) void delivery;
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('the end of a delivery', () => {
  it('D1: comes with its connection, whatever became of it; the event comes again', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A');
    await rig.settle();
    owe(rig, 4);
    const [asked, answeredLate, held] = await take(rig, consumer, 3) as [Delivery, Delivery, Delivery];
    const known = fates([asked.ack(), answeredLate.ack()]);
    await turn();
    rig.up();
    rig.peer.answer();
    rig.cut();
    await turn();
    expect(known).toEqual([expect.objectContaining(UNKNOWN), expect.objectContaining(UNKNOWN)]);
    await expect(held.ack()).rejects.toMatchObject(UNKNOWN);
    rig.clock.advance(4_000);
    rig.join();
    await rig.settle();
    expect(rig.said('consume').map(({ request }) => request)).toEqual(['__2']);
    const again = await take(rig, consumer, 2);
    expect(again.map(({ event, attempt }) => [event.text(), attempt])).toEqual([['3', 2], ['4', 2]]);
    await expect(held.ack()).rejects.toMatchObject(UNKNOWN);
    expect(rig.hub.consumers.owed('jobs').map(({ over }) => over)).toEqual(['acked', 'acked', undefined, undefined]);
  });

  it('D1 S1: is not mistaken for that of another connection', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A');
    await rig.settle();
    await rig.rejoin();
    rig.peer.give({ room: 'A', id: 'late', seq: 9, from: 'somebody', body: 'late' }, '__1', 1);
    await rig.settle();
    owe(rig, 1);
    expect((await take(rig, consumer, 1)).map(({ event }) => event.text())).toEqual(['1']);
  });

  it('D7: of a member that is closed is at once, unless it is being settled; then the member leaves', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A');
    await rig.settle();
    owe(rig, 3);
    const [one, two] = await take(rig, consumer, 2) as [Delivery, Delivery];
    const known = fates([one.ack()]);
    const left = fates([consumer.close(), consumer.close()]);
    await rig.settle();
    expect([consumer.closed, left, rig.said('unsubscribe'), rig.hub.consumers.members('jobs')]).toEqual([true, ['waits', 'waits'], [], 1]);
    await expect(two.ack()).rejects.toMatchObject(UNKNOWN);
    rig.hub.consumers.deliver();
    await answered(rig);
    expect([known, left, rig.said('unsubscribe').length, rig.hub.consumers.members('jobs')]).toEqual([['kept'], ['kept', 'kept'], 1, 0]);
    await expect(consumer.ready()).rejects.toMatchObject({ code: 'ABORTED' });
    const heir = rig.messenger.consume('jobs', 'A');
    await rig.settle();
    expect((await take(rig, heir, 2)).map(({ event }) => event.text())).toEqual(['2', '3']);
  });

  it('D7: does not keep a member that is closed when the connection goes', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A');
    await rig.settle();
    owe(rig, 1);
    const [one] = await take(rig, consumer, 1) as [Delivery];
    const known = fates([one.ack(), consumer.close()]);
    await rig.rejoin();
    expect(known).toEqual([expect.objectContaining(UNKNOWN), 'kept']);
    expect(rig.said('consume')).toEqual([]);
  });

  it('D7: is waited for by drain', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A');
    await rig.settle();
    owe(rig, 1);
    const [one] = await take(rig, consumer, 1) as [Delivery];
    const known = fates([one.ack()]);
    const drained = rig.messenger.drain();
    await rig.settle();
    expect([rig.messenger.state.status, known]).toEqual(['draining', ['waits']]);
    await answered(rig);
    expect([rig.messenger.state.status, known, consumer.closed]).toEqual(['closed', ['kept'], true]);
    rig.transport.socket.gone({ closeCode: 1000 });
    await drained;
  });
});

describe('the end of a consumer', () => {
  it('comes with the loop that reads it, and shares nothing with others', async () => {
    const rig = await joinedRig();
    const [consumer, other] = [rig.messenger.consume('jobs', 'A'), rig.messenger.consume('others', 'A')];
    await rig.settle();
    owe(rig, 1);
    rig.hub.consumers.deliver();
    await rig.settle();
    for await (const { event } of consumer) if (event.text() === '1') break;
    await rig.settle();
    expect([consumer.closed, other.closed, rig.hub.consumers.members('jobs'), rig.hub.consumers.members('others')]).toEqual([true, false, 0, 1]);
    expect(await consumer[Symbol.asyncIterator]().next()).toEqual({ done: true, value: undefined });
  });

  it.each([['CONSUMER_EXISTS', 'A', 9], ['RECEIVE_DENIED', 'denied', undefined]] as const)('S3: is the refusal %s, which its reader, ready and listeners are told', async (code, room, maxDeliveries) => {
    const rig = await joinedRig();
    const first = rig.messenger.consume('jobs', 'A');
    const refused = rig.messenger.consume('jobs', room, maxDeliveries === undefined ? {} : { maxDeliveries });
    const known = fates([refused.ready(), first.ready()]);
    const ended = rejection(refused);
    await rig.settle();
    expect(await ended).toMatchObject({ code });
    expect([known, rig.errors]).toEqual([[expect.objectContaining({ code }), 'kept'], [expect.objectContaining({ code })]]);
    expect([refused.closed, first.closed]).toEqual([true, false]);
    await expect(refused.ready()).rejects.toMatchObject({ code });
    await refused.close();
    await rig.rejoin();
    expect(rig.said('consume')).toHaveLength(1);
  });

  it('S3: is the deletion at the hub, with what was not settled', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A');
    await rig.settle();
    owe(rig, 1);
    const [one] = await take(rig, consumer, 1) as [Delivery];
    const ended = rejection(consumer);
    const known = fates([one.ack()]);
    rig.hub.consumers.delete('jobs');
    rig.down();
    expect(await ended).toMatchObject({ code: 'CONSUMER_UNKNOWN' });
    await turn();
    expect(known).toEqual([expect.objectContaining(UNKNOWN)]);
    await rig.settle();
    expect(rig.said('unsubscribe')).toEqual([]);
  });

  it('S4: is LOG_ABSENT over the first protocol, then and later', async () => {
    const rig = new ModelRig();
    const consumer = rig.messenger.consume('jobs', 'A');
    rig.transport.socket.open();
    expect(await rejection(consumer)).toMatchObject({ code: 'LOG_ABSENT' });
    expect(await rejection(rig.messenger.consume('jobs', 'A'))).toMatchObject({ code: 'LOG_ABSENT' });
    expect(rig.errors).toEqual([expect.objectContaining({ code: 'LOG_ABSENT' })]);
    expect(rig.transport.socket.sent).toEqual([]);
  });

  it('is ABORTED when its signal is', async () => {
    const rig = await joinedRig();
    const abort = new AbortController();
    const consumer = rig.messenger.consume('jobs', 'A', { signal: abort.signal });
    await rig.settle();
    const ended = rejection(consumer);
    abort.abort();
    expect(await ended).toMatchObject({ code: 'ABORTED' });
    await rig.settle();
    expect(rig.hub.consumers.members('jobs')).toBe(0);
    expect(() => rig.messenger.consume('jobs', 'A', { signal: abort.signal })).toThrow(expect.objectContaining({ code: 'ABORTED' }));
  });

  it('comes with its messenger', async () => {
    const rig = await joinedRig();
    const consumer = rig.messenger.consume('jobs', 'A');
    const waiting = fates([consumer.ready()]);
    const ended = rejection(consumer);
    void rig.messenger.close();
    expect(await ended).toBeUndefined();
    expect(waiting).toEqual([expect.objectContaining({ code: 'MESSENGER_CLOSED' })]);
    expect(() => rig.messenger.consume('jobs', 'A')).toThrow(expect.objectContaining({ code: 'MESSENGER_CLOSED' }));
    await consumer.close();
  });

  it.each([['', 'A', {}, 'CONSUMER_INVALID'], ['a b', 'A', {}, 'CONSUMER_INVALID'], ['jobs', '', {}, 'PATTERN_INVALID'], ['jobs', 'A', { window: 0 }, 'CONSUMER_INVALID'], ['jobs', 'A', { ackTimeoutMs: 1.5 }, 'CONSUMER_INVALID']])('is refused before it begins: %j of %j with %j is %s', async (name, rooms, options, code) => {
    const rig = await joinedRig();
    expect(() => rig.messenger.consume(name, rooms, options)).toThrow(expect.objectContaining({ code }));
    await rig.settle();
    expect(rig.said('consume')).toEqual([]);
  });
});
