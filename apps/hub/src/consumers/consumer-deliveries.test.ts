import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { joinConsumer, ROOM, spent, startConsumerHub, triesOf } from './consumer.fixture.ts';
import { createFailingLog } from '../durable/failing-log.fixture.ts';
import { closeAll, onClose, startTestHub } from '../hub.fixture.ts';
import { openSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

/** The shortest that may be asked for. */
const ACK_TIMEOUT_MS = 1_000;

describe('a delivery of a durable consumer', () => {
  it('comes again after a nack, when the delay is over', async () => {
    const { hub, store } = await startConsumerHub();
    const member = await joinConsumer(hub, 'billing');
    const [one = 0, two = 0] = await store('1', '2');
    await member.delivered(2);
    expect(await member.settled({ op: 'nack', seqs: [one], delayMs: 400, reason: 'busy' })).toEqual({ op: 'settled', request: 'c', seqs: [one] });
    await member.settled({ op: 'nack', seqs: [two] });
    await member.delivered(4);
    expect(triesOf(member)).toEqual([['1', 1], ['2', 1], ['2', 2], ['1', 2]]);
    await member.settled({ op: 'ack', seqs: [two, one] });
    await spent(hub, 'billing');
  });

  it('is put off when it is deferred, at once or for later, and that does not count', async () => {
    const { hub, store } = await startConsumerHub();
    const member = await joinConsumer(hub, 'billing', { maxDeliveries: 2 });
    const [one = 0] = await store('1');
    for (let count = 1; count <= 3; count += 1) {
      const { seq } = await member.delivered(count);
      await member.settled({ op: 'defer', seqs: [seq], reason: 'not now', delayMs: count === 2 ? 300 : 0 });
    }
    const last = await member.delivered(4);
    expect(triesOf(member)).toEqual([['1', 1], ['1', 1], ['1', 1], ['1', 1]]);
    expect(last).toMatchObject({ id: member.deliveries()[0]?.id, room: ROOM });
    expect(last.seq).toBeGreaterThan(one);
    // A nack counts, wherever it was.
    await member.settled({ op: 'nack', seqs: [last.seq] });
    const { seq, attempt } = await member.delivered(5);
    expect(attempt).toBe(2);
    await member.settled({ op: 'ack', seqs: [seq] });
    await spent(hub, 'billing');
    expect(await hub.metric('carillon_hub_dead_letters_total')).toBe(0);
  });

  it('is not put off for longer than events are kept', async () => {
    const { hub, store } = await startConsumerHub();
    const member = await joinConsumer(hub, 'billing');
    const [one = 0] = await store('1');
    await member.delivered(1);
    for (const op of ['nack', 'defer'] as const) {
      member.say({ op, request: 'c', seqs: [one], delayMs: 6 * 86_400_000 + 1 });
      await eventually(() => expect(member.all('error').filter(({ code, request }) => code === 'DELAY_INVALID' && request === 'c')).toHaveLength(op === 'nack' ? 1 : 2));
    }
    expect(await member.settled({ op: 'ack', seqs: [one] })).toMatchObject({ seqs: [one] });
  });

  it('goes to another member when it is not settled in time', async () => {
    const { hub, store } = await startConsumerHub();
    const silent = await joinConsumer(hub, 'billing', { ackTimeoutMs: ACK_TIMEOUT_MS, window: 1 });
    const [one = 0] = await store('1');
    await silent.delivered(1);
    const other = await joinConsumer(hub, 'billing', { ackTimeoutMs: ACK_TIMEOUT_MS });
    const { attempt } = await eventually(() => [...other.deliveries(), ...silent.deliveries().slice(1)][0] ?? false);
    expect(attempt).toBe(2);
    await eventually(async () => expect(await hub.metric('carillon_hub_consumer_deliveries_total', 'timed-out')).toBeGreaterThan(0));
    // Whoever has it now may settle it.
    await eventually(async () => {
      const answers = await Promise.all([silent, other].map((member) => member.settled({ op: 'ack', seqs: [one] })));
      expect(answers.flatMap(({ seqs }) => seqs)).toEqual([one]);
    });
    await spent(hub, 'billing');
  });

  it('leaves the window of a member that never says anything, and is none of its any more', async () => {
    const { hub, store } = await startConsumerHub();
    const member = await joinConsumer(hub, 'billing', { ackTimeoutMs: ACK_TIMEOUT_MS, window: 1, maxDeliveries: 1 });
    const [one = 0] = await store('1', '2');
    await member.delivered(2);
    expect(triesOf(member)).toEqual([['1', 1], ['2', 1]]);
    await eventually(async () => expect(await hub.metric('carillon_hub_dead_letters_total')).toBeGreaterThan(0));
    // Too late.
    expect(await member.settled({ op: 'ack', seqs: [one] })).toEqual({ op: 'settled', request: 'c', seqs: [], unknown: [one] });
  });

  it('is settled once, by whoever has it', async () => {
    const { hub, store } = await startConsumerHub();
    const member = await joinConsumer(hub, 'billing');
    const [one = 0, two = 0] = await store('1', '2');
    await member.delivered(2);
    const stranger = await joinConsumer(hub, 'billing');
    expect(await stranger.settled({ op: 'ack', seqs: [one] })).toEqual({ op: 'settled', request: 'c', seqs: [], unknown: [one] });
    member.say({ op: 'ack', request: 'c', seqs: [one, one] });
    member.say({ op: 'ack', request: 'c', seqs: [one, two, 4_711] });
    await eventually(() => expect(member.all('settled')).toHaveLength(2));
    expect(member.all('settled').flatMap(({ seqs }) => seqs).sort()).toEqual([one, two]);
    expect(member.all('settled').flatMap(({ unknown = [] }) => unknown).sort()).toEqual([one, 4_711]);
    expect(await member.settled({ op: 'discard', seqs: [two] })).toMatchObject({ unknown: [two] });
    stranger.say({ op: 'ack', request: 'nothing', seqs: [one] });
    expect(await stranger.got('error')).toMatchObject({ code: 'REQUEST_UNKNOWN', request: 'nothing' });
    await spent(hub, 'billing');
  });

  it.each([{ op: 'nack' }, { op: 'nack', delayMs: 300 }, { op: 'defer' }, { op: 'defer', delayMs: 300 }, { op: 'discard' }] as const)('that was never made is unknown to who says %j, and comes as the first', async (settling) => {
    const { hub, store } = await startConsumerHub();
    // One more attempt, were it counted, would be the end of it.
    const member = await joinConsumer(hub, 'billing', { window: 1, maxDeliveries: 1 });
    const [one = 0, two = 0] = await store('1', '2');
    await member.delivered(1);
    expect(await member.settled({ ...settling, seqs: [two, 4_711] })).toEqual({ op: 'settled', request: 'c', seqs: [], unknown: [two, 4_711] });
    expect(await member.settled({ op: 'ack', seqs: [one] })).toEqual({ op: 'settled', request: 'c', seqs: [one] });
    const { seq } = await member.delivered(2);
    expect(await member.settled({ op: 'ack', seqs: [seq] })).toEqual({ op: 'settled', request: 'c', seqs: [two] });
    await spent(hub, 'billing');
    expect(triesOf(member)).toEqual([['1', 1], ['2', 1]]);
    expect(await Promise.all([hub.metric('carillon_hub_dead_letters_total'), hub.metric('carillon_hub_delayed_waiting'), hub.metric('carillon_hub_consumer_deliveries_total', 'unknown')])).toEqual([0, 0, 2]);
  });

  it.each([{ op: 'nack' }, { op: 'defer' }, { op: 'defer', delayMs: 300 }, { op: 'discard' }] as const)('is not another member\'s, who says %j: who has it keeps it, and nobody gets it again', async (settling) => {
    const { hub, store } = await startConsumerHub();
    const member = await joinConsumer(hub, 'billing', { maxDeliveries: 1 });
    const [one = 0] = await store('1');
    await member.delivered(1);
    const stranger = await joinConsumer(hub, 'billing', { maxDeliveries: 1 });
    expect(await stranger.settled({ ...settling, seqs: [one] })).toEqual({ op: 'settled', request: 'c', seqs: [], unknown: [one] });
    expect(await hub.metric('carillon_hub_delayed_waiting')).toBe(0);
    expect(await member.settled({ op: 'ack', seqs: [one] })).toEqual({ op: 'settled', request: 'c', seqs: [one] });
    // What comes next would come behind a copy of it.
    await store('2');
    const got = await eventually(() => [...member.deliveries(), ...stranger.deliveries()].length > 1 && [...member.deliveries(), ...stranger.deliveries()]);
    expect(got.map(({ body, attempt }) => [body, attempt])).toEqual([['1', 1], ['2', 1]]);
    await Promise.all([member, stranger].map((each) => each.settled({ op: 'ack', seqs: [got[1]?.seq ?? 0] })));
    await spent(hub, 'billing');
    expect(await hub.metric('carillon_hub_dead_letters_total')).toBe(0);
  });

  it('is settled for good: what was acked stays so when the hub starts again', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'carillon-consumers-'));
    onClose(() => rm(dataDir, { recursive: true, force: true }));
    const first = await startTestHub({ log: true, dataDir });
    const member = await joinConsumer(first, 'billing', { window: 4 });
    const writer = await openSession(first);
    const seqs = [await writer.store(ROOM, '1'), await writer.store(ROOM, '2'), await writer.store(ROOM, '3'), await writer.store(ROOM, '4')];
    await member.delivered(4);
    await member.settled({ op: 'ack', seqs: [seqs[0] ?? 0, seqs[2] ?? 0] });
    await member.settled({ op: 'defer', seqs: [seqs[1] ?? 0] });
    await member.delivered(5);
    await first.stop();
    const second = await startTestHub({ log: true, dataDir });
    const again = await joinConsumer(second, 'billing', { window: 4 });
    await again.delivered(2);
    expect(triesOf(again).sort()).toEqual([['2', 2], ['4', 2]]);
    await again.settled({ op: 'ack', seqs: again.deliveries().map(({ seq }) => seq) });
    await spent(second, 'billing');
  });

  it('is not settled when the log did not keep that, and may be tried again', async () => {
    const failing = createFailingLog();
    const hub = await startTestHub({ log: true, wrapLog: failing.wrap });
    const member = await joinConsumer(hub, 'billing');
    const seq = await member.store(ROOM, '1');
    await member.delivered(1);
    failing.fail('append', 1, 'LOG_FULL');
    member.say({ op: 'defer', request: 'c', seqs: [seq, 999] });
    expect(await member.got('error')).toMatchObject({ code: 'LOG_FULL', request: 'c' });
    expect(member.all('settled')).toEqual([{ op: 'settled', request: 'c', seqs: [], unknown: [999] }]);
    expect(await member.settled({ op: 'defer', seqs: [seq] })).toMatchObject({ seqs: [seq] });
    const again = await member.delivered(2);
    failing.fail('append', 1, 'LOG_FULL');
    member.say({ op: 'discard', request: 'c', seqs: [again.seq] });
    await eventually(() => expect(member.all('error').map(({ code }) => code)).toEqual(['LOG_FULL', 'LOG_FULL']));
    // The log keeps a letter as soon as it can.
    await eventually(async () => expect(await hub.metric('carillon_hub_dead_letters_total')).toBe(1));
    await spent(hub, 'billing');
  });
});
